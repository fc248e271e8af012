"""CrowdFlower's search results relevance: the median of raters' 1 to 4, titles and descriptions, no ids of products.

The median and a variance are all that is published of the raters. No grades are made of them, so there are no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import graded, set_file, set_rows

SCALE = NumberScale(Fraction(1), Fraction(4))

_COLUMNS = ("query", "product_title", "median_relevance")


def open_crowdflower(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open CrowdFlower's set: `train`, or the folder that holds it.

    Products with the same title and description are one, with an id that is made of them. `test` has no grades and is
    not read; the set has no splits.

    Raises:
        BadInput: the file is missing or cannot be read, or a column is missing.
    """
    file = set_file(source, "judgments", "train") if source.is_dir() else source
    return VoteSource(_votes(file, report), SCALE)


def _votes(file: Path, report: ImportReport) -> Iterator[Vote]:
    for row in set_rows(file, "judgments", _COLUMNS, report):
        cells = row.cells
        yield Vote(
            file=file.name,
            line=row.line,
            product_id=None,
            query=cells.get("query"),
            grade=graded(cells.get("median_relevance")),
            product={"title": cells.get("product_title"), "description": cells.get("product_description")},
        )
