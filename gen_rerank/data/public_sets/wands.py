"""WANDS, Wayfair's: three tables of queries, products and labels, parted by tabs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.importing.grading import WordScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import (
    TableRows,
    graded,
    row_of,
    rows_by_id,
    set_file,
    set_rows,
    with_rest,
)

LABELS = WordScale({"exact": 1.0, "partial": 0.5, "irrelevant": 0.0})

_USED = ("product_id", "product_name", "category hierarchy", "product_description", "product_features")


def open_wands(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open WANDS: the folder with `query`, `product` and `label`.

    Exact, Partial and Irrelevant are worth 1, 0.5 and 0. The set has no splits. With `options.keep_rest` the columns of
    products that have no other place (class, ratings) become attributes, and a query's class its tag.

    Raises:
        BadInput: a file is missing or cannot be read, or a column is missing.
    """
    queries = set_file(source, "queries", "query")
    products = set_file(source, "products", "product")
    labels = set_file(source, "labels", "label")
    asked = rows_by_id(set_rows(queries, "queries", ("query_id", "query"), report), queries, "query_id", dict, report)
    known = rows_by_id(
        set_rows(products, "products", ("product_id", "product_name"), report),
        products,
        "product_id",
        partial(_fields, keep_rest=options.keep_rest),
        report,
    )
    return VoteSource(_votes(labels, asked, known, report, keep_rest=options.keep_rest), LABELS)


def features(written: Any) -> list[tuple[str, str]]:
    """Return the names and values of `name:value|name:value`; a part without a name belongs to the one before.

    Raises:
        BadValue: it is no text.

    Example:
        >>> features("color : oak|shape:round|oval|seats: 4")
        [('color', 'oak'), ('shape', 'round|oval'), ('seats', '4')]
    """
    found: list[tuple[str, str]] = []
    for part in (values.text(written) or "").split("|"):
        name, colon, value = part.partition(":")
        if colon and name.strip():
            found.append((name.strip(), value.strip()))
        elif found and part.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]}|{part.strip()}")
    return found


def _fields(cells: Mapping[str, Any], *, keep_rest: bool) -> dict[str, Any]:
    return {
        "title": cells.get("product_name"),
        "description": cells.get("product_description"),
        "category": cells.get("category hierarchy"),
        "attributes": with_rest(features(cells.get("product_features")), cells, _USED, keep_rest=keep_rest),
    }


def _votes(
    file: Path, queries: TableRows, products: TableRows, report: ImportReport, *, keep_rest: bool
) -> Iterator[Vote]:
    for row in set_rows(file, "judgments", ("query_id", "product_id", "label"), report):
        cells = row.cells
        query = row_of(queries, cells.get("query_id"))
        kind = query.get("query_class")
        yield Vote(
            file=file.name,
            line=row.line,
            product_id=cells.get("product_id"),
            query=query.get("query"),
            query_id=graded(cells.get("query_id")),
            grade=graded(cells.get("label")),
            tags=(kind,) if keep_rest and kind else (),
            product=row_of(products, cells.get("product_id")),
        )
