"""What every form of feed is read into: rows of named cells, and rows that could not be read.

Cells are what the file says, before anything is cleaned. Which cell is the title, `columns` knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FORMULA = "formula without a value: open and save the file in a spreadsheet program"


@dataclass(frozen=True, slots=True)
class FeedNote:
    """One change, to be counted by its kind: what a cell was and what was made of it."""

    kind: str
    column: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One row.

    Attributes:
        line: where it begins, from 1; of forms without lines (Parquet, an array in one line) the number of the row.
        cells: by the name of the column.
        notes: what was changed in reading it.
    """

    line: int
    cells: dict[str, Any]
    notes: tuple[FeedNote, ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A row that could not be read: where it begins, a few words to count it by, and the reason."""

    line: int
    kind: str
    reason: str


FeedRows = Iterator[FeedRow | UnreadRow]
