"""CSV, TSV and their kin become rows: the delimiter is found, the header names the columns.

Python's `csv` reads the quoting. A row with more cells than the header is refused, as nobody knows which cell is which;
one with fewer is read, for spreadsheets leave out what is empty at the end, and counted.
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
from gen_rerank.errors import BadInput

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
        BadInput: there is no header, or a cell is never closed.
    """
    csv.field_size_limit(READ_CHARACTERS * 2)
    with source.text() as file:
        numbered = _numbered(source, csv.reader(file, delimiter=delimiter))
        header = next(((line, cells) for line, cells in numbered if not _names_delimiter(cells, line)), None)
        if header is None:
            raise BadInput(f"{source.path}: has no header and no rows")
        names = column_names(header[1])
        for line, cells in numbered:
            yield _row(line, cells, names)


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
    lines = cells[-1].count("\n")
    if lines:  # it took what followed
        return UnreadRow(line, "too few cells", f"{counts}, the last of {lines + 1:,} lines; is a quote never closed?")
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


def _numbered(source: FeedSource, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not blank, with the line in which each begins."""
    begin = 1
    try:
        for cells in reader:
            if cells:
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise BadInput(f"{source.path}:{begin}: not a readable table ({error}); is a quote never closed?") from error


def _names_delimiter(cells: list[str], line: int) -> bool:
    """Say whether a row is spreadsheets' `sep=;`, which is no header."""
    return line == 1 and cells[0].lower().startswith(_NAMED) and not any(cells[1:])
