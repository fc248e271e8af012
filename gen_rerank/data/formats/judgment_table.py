"""Judgments as a table: a query, a product, a grade and perhaps a rater in each row, one row a vote or one a pair.

A row with a rater is somebody's vote; one without is what the pair is worth. CSV, TSV, JSON, Parquet
and XLSX are read alike, and the products' texts may be in the table. Written, it is CSV, and carries what no other
format does: ids of queries, splits, tags, and labels beside a relevance.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.formats.fields import product_fields, vote_columns
from gen_rerank.data.formats.sources import named_rows
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.records import Judgment
from gen_rerank.errors import BadInput

_TAGS = "|"
_HEADER = ("query_id", "query", "split", "tags", "product_id", "grade", "rater")


def open_judgment_table(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a table of judgments.

    Raises:
        BadInput: it cannot be read, has no rows, or no column for the query, the product or the grade.
    """
    rows = named_rows(source, report)
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{source}: has no rows")
    columns = judgment_columns(source, first, options.columns)
    report.found["columns"] = ", ".join(f"{what} ← {column}" for what, column in columns.items())
    return VoteSource(row_votes(source, chain([first], rows), columns, options))


def judgment_columns(source: Path, first: FeedRow, named: Mapping[str, str]) -> dict[str, str]:
    """Return which column holds what, by a first row.

    Raises:
        BadInput: there is none for the query, the product or the grade.
    """
    columns = vote_columns(first.cells, named, str(source))
    has_texts = "title" in product_fields(first.cells, keep_rest=False)
    for needed, others in (("query", ("query_id",)), ("product", ()), ("grade", ("raters",))):
        if not {needed, *others} & set(columns) and not (needed == "product" and has_texts):
            raise BadInput(
                f"{source}: no column for the {needed}; name it with --map {needed}=COLUMN "
                f"(there are {', '.join(first.cells)})"
            )
    return columns


def row_votes(
    source: Path, rows: Iterable[FeedRow], columns: Mapping[str, str], options: JudgmentOptions
) -> Iterator[Vote]:
    """Yield the votes in rows with named cells.

    Args:
        source: named in refusals.
        rows: in the order of the file.
        columns: which cell holds what.
        options: whether unknown cells become attributes of the product.
    """
    for row in rows:
        cells = {what: row.cells.get(column) for what, column in columns.items()}
        others = {name: value for name, value in row.cells.items() if name not in columns.values()}
        product = product_fields(others, keep_rest=options.keep_rest)
        vote = Vote(
            file=source.name,
            line=row.line,
            product_id=cells.get("product"),
            query=cells.get("query"),
            query_id=_given(cells.get("query_id")),
            split=cells.get("split"),
            tags=_tags(cells.get("tags")),
            need=cells.get("need"),
            product=product if "title" in product else {},
        )
        single = cells.get("raters")
        if isinstance(single, list) and single:
            for number, grade in enumerate(single, start=1):
                yield replace(vote, grade=_given(grade), rater=str(number))
        else:
            rater = str(_given(cells.get("rater")) or "").strip() or None
            yield replace(vote, grade=_given(cells.get("grade")), rater=rater)


def write_judgment_table(dataset: Dataset, path: Path, scale: NumberScale, report: ImportReport) -> None:
    """Write all judgments as CSV: a row for each label of a judgment, or one row without a rater.

    Raters are numbered by the order of the labels; a relevance that is not the mean of the labels is lost.

    Args:
        dataset: whose judgments.
        path: of the file.
        scale: of the grades that are written.
        report: is told what was lost.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_HEADER)
        for row in dataset.judgments:
            query = dataset.queries[row.query_id]
            head = (query.query_id, query.text, query.split, _TAGS.join(query.tags), row.product_id)
            table.writerows((*head, scale.written(grade), rater) for rater, grade in rated(row, report))


def rated(row: Judgment, report: ImportReport) -> list[tuple[str, float]]:
    """Return the grades of a judgment with the numbers of their raters, or its relevance without one.

    The report is told where the relevance is not the mean of the labels, and is lost with that.

    Example:
        >>> judgment = Judgment(query_id="q", product_id="p", relevance=0.5, labels=(0, 1))
        >>> rated(judgment, ImportReport("shop", "judgments"))
        [('1', 0.0), ('2', 1.0)]
    """
    if not row.labels:
        return [("", row.relevance)]
    mean = fmean(row.labels)
    if mean != row.relevance:
        place = f"{row.query_id} × {row.product_id}"
        report.change("relevance that is not the mean of the labels", place, row.relevance, mean)
    return [(str(number), grade) for number, grade in enumerate(row.labels, start=1)]


def _given(value: Any) -> Any:
    """Return a value of a cell; None where the cell is blank."""
    return None if isinstance(value, str) and not value.strip() else value


def _tags(value: Any) -> tuple[str, ...]:
    parts = value.split(_TAGS) if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(str(part).strip() for part in parts if str(part).strip())
