"""Remarks of libraries that are no news to anybody. What a command shows of its own progress is not decided here."""

from __future__ import annotations

import logging


def hide_missing_kernels() -> None:
    """Keep bitsandbytes from warning of optional kernels; call it before anything imports it, PEFT for example.

    It looks for them when it is imported, on CPUs with AVX512-BF16, and warns that they are not installed. Nothing here
    needs them.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
