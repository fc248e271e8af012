"""Pair files: JSON Lines in which a row has a query, a product with its texts, and a grade or all raters' grades.

Where the grades are ESCI's four letters, they have the gains that ESCI gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.formats.judgment_table import judgment_columns, row_votes
from gen_rerank.data.formats.sources import named_rows
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.public_sets.esci import GAINS
from gen_rerank.errors import BadInput


def open_pairs(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a pair file.

    Raises:
        BadInput: it cannot be read, has no rows, or no field for the query, the product or the grade.
    """
    rows = named_rows(source, report)
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{source}: has no rows")
    columns = judgment_columns(source, first, options.columns)
    report.found["fields"] = ", ".join(f"{what} ← {column}" for what, column in columns.items())
    letters = str(first.cells.get(columns.get("grade", ""))) in ("E", "S", "C", "I")
    votes = row_votes(source, _with_bullets(chain([first], rows)), columns, options)
    return VoteSource(votes, GAINS if letters else None)


def _with_bullets(rows: Iterable[FeedRow]) -> Iterator[FeedRow]:
    """Yield rows whose bullet points are the end of the description: they are the text that such a product has."""
    for row in rows:
        if row.cells.get("bullets"):
            cells: Mapping[str, object] = row.cells
            description = [cells.get("description"), cells["bullets"]]
            rest = {name: value for name, value in cells.items() if name != "bullets"}
            yield FeedRow(row.line, {**rest, "description": description}, row.notes)
        else:
            yield row
