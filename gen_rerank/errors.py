"""The one exception that a user may cause: its message is a sentence that says what, where and how to fix it."""

from __future__ import annotations


class BadInput(ValueError):
    """The input cannot be used. Commands print the message and exit with code 2; nothing else is shown."""
