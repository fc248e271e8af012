"""The one exception that a user may cause: a sentence that says what, where and how to fix it.

How a library's own error is quoted in it is here too.
"""

from __future__ import annotations


class BadInput(ValueError):
    """The input cannot be used. Commands print the message and exit with code 2; nothing else is shown."""


def first_line(error: BaseException) -> str:
    """Return what a library's error says, for a sentence of ours: its first line, or its kind where it says nothing.

    Example:
        >>> first_line(ValueError("no such layer")), first_line(TimeoutError())
        ('no such layer', 'TimeoutError')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
