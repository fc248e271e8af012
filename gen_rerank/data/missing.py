"""Words that programs write where they have no value: one list for feeds and for judgments."""

from __future__ import annotations

import math
from typing import Any

# What pandas, SQL and spreadsheets write for nothing. "NAN" and "none" may be names.
_NOTHING = frozenset(["NaN", "nan", "NaT", "<NA>", "NULL", "null", "None", "\\N", "N/A", "n/a", "#N/A"])


def is_nothing(value: Any) -> bool:
    """Return whether a value is how programs write that there is none: NaN, or a word for it.

    Example:
        >>> is_nothing("NULL"), is_nothing(float("nan")), is_nothing("none"), is_nothing("")
        (True, True, False, False)
    """
    if isinstance(value, str):
        return len(value) < 6 and value.strip() in _NOTHING
    return isinstance(value, float) and not math.isfinite(value)
