"""ERESS: queries with about 16 candidates each and a relevance in [0, 1]; all of it is for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.amazebay import UNIT_SCALE
from gen_rerank.data.public_sets.set_files import graded, set_parts, set_rows

_COLUMNS = ("query_string|query", "parent_asin", "title", "relevance_score")


def open_eress(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open ERESS: one file, or a folder of parts, of which those named test are read where there are any.

    `relevance_score` is the relevance, and every query is in the split `test`, whatever `options` says: nothing is to
    be trained on it.

    Raises:
        BadInput: there is no such file, it cannot be read, or a column is missing.
    """
    return VoteSource(_votes(set_parts(source, "test*"), report), UNIT_SCALE)


def _votes(parts: list[Path], report: ImportReport) -> Iterator[Vote]:
    for part in parts:
        for row in set_rows(part, "judgments", _COLUMNS, report):
            cells = row.cells
            yield Vote(
                file=part.name,
                line=row.line,
                product_id=cells.get("parent_asin"),
                query=cells.get("query_string") or cells.get("query"),
                grade=graded(cells.get("relevance_score")),
                split="test",
                product={"title": cells.get("title"), "description": cells.get("description")},
            )
