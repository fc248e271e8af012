"""Numbers in the words of reports: figures, significant digits, durations, sizes, counts, and eleven bars as text.

One rule for every table and page: what is not a finite number is a dash, and no sign stands before a zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

ABSENT = "–"

_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))
_BLOCKS = " ▁▂▃▄▅▆▇█"


def figure(value: float | None, form: str = ".3f") -> str:
    """Return a number in the form of `format`: a dash for what is not a finite number, and no sign before a zero.

    Example:
        >>> figure(-0.0004), figure(float("nan")), figure(0.061, ".1%"), figure(0.02, "+.3f")
        ('0.000', '–', '6.1%', '+0.020')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    text = format(value, form)
    return text if re.search("[1-9]", text) else text.lstrip("+-")


def significant(value: float) -> str:
    """Return a number with three significant digits, thousands separated and never an exponent.

    Example:
        >>> [significant(x) for x in (1234.5, 31.24, 0.5)]
        ['1,234', '31.2', '0.500']
    """
    digits = 2 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return figure(value, f",.{min(max(digits, 0), 6)}f")


def duration(seconds: float) -> str:
    """Return a time in the unit that fits it, from milliseconds to hours.

    Example:
        >>> [duration(seconds) for seconds in (0.0312, 41, 600, 5400)]
        ['31.2 ms', '41.0 s', '10 minutes', '1.5 hours']
    """
    if seconds < 1:
        return f"{significant(1000 * seconds)} ms"
    if seconds < 90:
        return f"{significant(seconds)} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def size(count: float) -> str:
    """Return a number of bytes in the decimal unit that fits it.

    Example:
        >>> size(1_190_000_000), size(410_000)
        ('1.19 GB', '410 kB')
    """
    unit, name = size_unit(count)
    return f"{significant(count / unit)} {name}"


def size_unit(count: float) -> tuple[float, str]:
    """Return the decimal unit that fits a number of bytes: how many bytes it is, and its name."""
    return next((unit for unit in _SIZES if count >= unit[0]), _SIZES[-1])


def compact(number: int) -> str:
    """Return a count that fits over a bar.

    Example:
        >>> [compact(n) for n in (950, 12_345, 3_400_000)]
        ['950', '12k', '3.4M']
    """
    if number < 1_000:
        return str(number)
    value, unit = (number / 1_000, "k") if number < 999_500 else (number / 1_000_000, "M")
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things with their name; `many` is `one` with an s unless it is given.

    Example:
        >>> counted(1, "query", "queries"), counted(1200, "pair")
        ('1 query', '1,200 pairs')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def bars(distribution: Sequence[float]) -> str:
    """Return block characters, one a bin, the tallest for the most probable.

    Example:
        >>> bars([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 1.0])
        '         ▄█'
    """
    top = max(distribution) or 1.0
    return "".join(_BLOCKS[round(p / top * (len(_BLOCKS) - 1))] for p in distribution)
