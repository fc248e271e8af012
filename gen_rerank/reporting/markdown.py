"""Text in Markdown documents: escaped, as code, as a table. What is written about is the caller's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What Markdown reads; an underscore between letters is read by none.
_SIGNS = re.compile(r"[\\`*{}\[\]#!|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def prose(text: str) -> str:
    r"""Return text that Markdown and HTML show as it is, on one line and inside one cell of a table.

    Example:
        >>> prose("a|b `c`")
        'a\\|b \\`c\\`'
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SIGNS.sub(r"\\\g<0>", line)


def code(text: str) -> str:
    """Return text as a code span, fenced by more backticks than it holds in a row.

    Example:
        >>> code("a `b`")
        '`` a `b` ``'
    """
    fence = "`" * (_longest_run(text) + 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def block(text: str, language: str = "") -> str:
    """Return text as a code block, fenced by more backticks than it holds in a row."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures; cells stand as they are given.

    Example:
        >>> print(table(["shop", "nDCG@5"], [["sample", "0.944"]]))
        | shop | nDCG@5 |
        | --- | ---: |
        | sample | 0.944 |
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
