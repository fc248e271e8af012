"""CSV, TSV and their kin become rows: the delimiter is found, the header names the columns.

Python's `csv` reads the quoting, strictly: a quote that never closes would take the rest of the file with it. A row
with more cells than the header is refused, as nobody knows which cell is which; one with fewer is read, for
spreadsheets leave out what is empty at the end, and counted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.cleaning import READ_CHARACTERS
from gen_rerank.data.feeds.rows import FeedNote, FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.source import FeedSource

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_HEAD_CHARACTERS = 65536
_HEAD_ROWS = 200
_NAMED = "sep="


def delimiter_of(source: FeedSource) -> str:
    """Return what parts the cells of a table: what gives most rows as many cells as the header, and the most cells.

    Raises:
        BadInput: as `FeedSource.text`.
    """
    with source.text() as file:
        head = file.read(_HEAD_CHARACTERS)
    lines = head.splitlines(keepends=True)
    if lines and lines[0].lower().startswith(_NAMED) and len(lines[0].strip()) == len(_NAMED) + 1:
        return lines[0][len(_NAMED)]
    if len(head) == _HEAD_CHARACTERS and len(lines) > 1:
        lines.pop()  # half a line
    return max(DELIMITERS, key=lambda delimiter: _agreement(lines, delimiter))


def table_rows(source: FeedSource, delimiter: str) -> FeedRows:
    """Yield the rows of a table; a line is where a row begins, as an editor counts.

    Raises:
        BadInput: as `FeedSource.text`.
    """
    csv.field_size_limit(READ_CHARACTERS * 2)
    with source.text() as file:
        names: list[str] = []
        for line, cells in _numbered(csv.reader(file, delimiter=delimiter, strict=True)):
            if isinstance(cells, UnreadRow):
                yield cells
            elif names:
                yield _row(line, cells, names)
            elif not _names_delimiter(cells, line):
                names = column_names(cells)


def column_names(header: Sequence[object]) -> list[str]:
    """Return the names of columns: cleaned, each once; the first one without a name is how pandas writes its index.

    Example:
        >>> column_names(["", "title", "title", None])
        ['', 'title', 'title (2)', 'column 4']
    """
    names: list[str] = []
    for place, given in enumerate(header, start=1):
        name = " ".join((values.text(given) or "").split()) or ("" if place == 1 else f"column {place}")
        times = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({times + 1})" if name in names else name)
    return names


def _row(line: int, cells: Sequence[str], names: Sequence[str]) -> FeedRow | UnreadRow:
    if len(cells) == len(names):
        return FeedRow(line, dict(zip(names, cells, strict=True)))
    counts = f"{len(cells)} cells where the header has {len(names)}"
    if len(cells) > len(names):
        return UnreadRow(line, "too many cells", f"{counts}; is a delimiter not quoted?")
    note = FeedNote("cells missing at the end of a row", "", f"{len(cells)} cells", f"{len(names)} cells")
    return FeedRow(line, dict(zip(names, cells, strict=False)), (note,))


def _agreement(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    """Say how well a delimiter explains the head of a table: the share of rows like the header, cells in the header."""
    try:
        rows = [row for row in islice(csv.reader(lines, delimiter=delimiter), _HEAD_ROWS) if row]
    except csv.Error:
        return 0.0, 0
    if not rows or len(rows[0]) < 2:
        return 0.0, 1
    return round(sum(len(row) == len(rows[0]) for row in rows) / len(rows), 1), len(rows[0])


def _numbered(reader: Any) -> Iterator[tuple[int, list[str] | UnreadRow]]:
    """Yield rows that are not blank with the line in which each begins; one with a fault ends with its line."""
    begin, more = 1, True
    while more:
        try:
            cells = next(reader, None)
            more = cells is not None
        except csv.Error as error:
            if str(error).startswith("field larger"):
                cells = UnreadRow(
                    begin, "cell too large", f"a cell has more than {csv.field_size_limit():,} characters"
                )
                yield begin, cells
                begin = reader.line_num + 1
                continue
            lines = f"lines {begin:,} to {reader.line_num:,}" if reader.line_num > begin else "the line"
            reason = f"the quotes of {lines} are not those of CSV ({error})"
            cells = UnreadRow(begin, "quotes that do not close", reason)
        if cells:
            yield begin, cells
        begin = reader.line_num + 1


def _names_delimiter(cells: list[str], line: int) -> bool:
    """Say whether a row is spreadsheets' `sep=;`, which is no header."""
    return line == 1 and cells[0].lower().startswith(_NAMED) and not any(cells[1:])
