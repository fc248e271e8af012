"""Pair files: JSON Lines in which a row has a query, a product with its texts, and a grade or all raters' grades.

Where the grades are ESCI's four letters, they have the gains that ESCI gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.formats.judgment_table import NAME_RATERS, judgment_columns, raters_grades, row_votes
from gen_rerank.data.formats.sources import named_rows
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport, columns_said
from gen_rerank.data.public_sets.esci import GAINS
from gen_rerank.data.values import BadValue

_LETTERS = ("E", "S", "C", "I")


def open_pairs(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a pair file.

    Raises:
        BadInput: it cannot be read, has no rows, or no field for the query, the product or the grade.
    """
    found = named_rows(source, report)
    columns = judgment_columns(source, found, options.columns)
    report.found["fields"] = columns_said(columns)
    votes = row_votes(found.file, _with_bullets(found.rows), columns, options, report)
    return VoteSource(votes, GAINS if _are_letters(found.head, columns) else None, NAME_RATERS)


def _are_letters(head: Iterable[FeedRow], columns: Mapping[str, str]) -> bool:
    """Say whether most grades in the first rows are ESCI's letters."""
    grades: list[object] = []
    for row in head:
        cells = {what: row.cells.get(column) for what, column in columns.items()}
        grades.append(cells.get("grade"))
        with suppress(BadValue):
            grades += raters_grades(cells.get("raters")).values()
    given = [written for grade in grades if grade is not None and (written := str(grade).strip())]
    return 2 * sum(grade.upper() in _LETTERS for grade in given) > len(given)


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
