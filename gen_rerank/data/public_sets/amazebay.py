"""Amazebay: pairs of queries and products with a relevance in [0, 1], and a catalog of 37 million products.

The pairs name clusters of queries; the queries of one cluster are in one split, so that a test query has no near
relative among those that a model was trained on. The catalog is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gen_rerank.data import values
from gen_rerank.data.feeds.catalog import CatalogIndex
from gen_rerank.data.feeds.prices import POINT, PriceReader
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.splitting import folded
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import graded, listed, set_parts, set_rows, with_rest
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import Product, Split, row_fault
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import folder_appearing

CATALOG = "amazebay-catalog"
UNIT_SCALE = NumberScale(Fraction(0), Fraction(1))

_CLUSTER = "cluster "
_PAIR_COLUMNS = ("query", "parent_asin", "title", "relevance_score")
_CATALOG_COLUMNS = ("parent_asin", "title")
# Columns of the catalog that have a place in a product, and those that say nothing of it in words.
_USED = (
    "parent_asin", "title", "features", "description", "price", "store", "categories", "main_category", "details",
    "subtitle", "author", "images", "videos", "bought_together",
)  # fmt: skip


def open_amazebay_relevance(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open Amazebay-Relevance: one file, or a folder of parts.

    `relevance_score` is the relevance. `cluster_id` keeps queries together: splits are drawn for clusters, by the
    shares of `options.plan`; a query without a cluster is its own.

    Raises:
        BadInput: there is no such file, it cannot be read, or a column is missing.
    """
    parts = set_parts(source)
    clusters = _clusters(parts)
    drawn = options.plan.draw(clusters.values())
    if clustered := {key for key in clusters.values() if key.startswith(_CLUSTER)}:
        members = sum(key in clustered for key in clusters.values())
        shares = ", ".join(f"{share:g}" for share in options.plan.shares)
        how = f"each whole in a split, drawn by {shares}, seed {options.plan.seed}"
        report.found["clusters"] = f"{len(clustered):,}, of {members:,} queries, {how}"
    splits = {query: drawn[folded(key)] for query, key in clusters.items()}
    return VoteSource(_votes(parts, splits, report), UNIT_SCALE)


def import_amazebay_catalog(source: Path, out: Path, *, keep_rest: bool = False) -> ImportReport:
    """Make a data folder of Amazebay-Catalog, which has products only.

    Args:
        source: one file, or a folder of parts.
        out: the folder; it may not hold anything yet.
        keep_rest: columns that have no place in a product, such as ratings, become attributes.

    Returns:
        The report: each row that was read is a product that was written or a row that was refused.

    Raises:
        BadInput: a file cannot be read, no row gives a product, or `out` is taken or cannot be written.

    Example:
        >>> import_amazebay_catalog(Path("Amazebay-Catalog/data"), Path("shop")).kept  # doctest: +SKIP
        {'products': 37000000}
    """
    report = ImportReport(str(source), CATALOG)
    with folder_appearing(out) as made, CatalogIndex.opened() as index:
        write_rows(made / "products.jsonl", _products(set_parts(source), index, report, keep_rest=keep_rest))
        if not report.kept:
            first = f" ({report.first_refused[0]})" if report.first_refused else ""
            raise BadInput(f"{source}: no usable products{first}")
    return report


def _clusters(parts: list[Path]) -> dict[str, str]:
    """Return, by a query's folded text, the first cluster that it is in; a query without one is its own."""
    found: dict[str, str] = {}
    uncounted = ImportReport("", "")  # rows are counted when votes are made of them
    for part in parts:
        for row in set_rows(part, "queries", _PAIR_COLUMNS, uncounted):
            try:
                query = folded(values.text(row.cells.get("query")) or "")
                cluster = values.text(row.cells.get("cluster_id"))
            except BadValue:
                continue  # refused as a vote
            own = f"query {query}"
            if found.get(query, own) == own:
                found[query] = f"{_CLUSTER}{cluster}" if cluster else own
    return found


def _votes(parts: list[Path], splits: Mapping[str, Split], report: ImportReport) -> Iterator[Vote]:
    for part in parts:
        for row in set_rows(part, "judgments", _PAIR_COLUMNS, report):
            cells = row.cells
            yield Vote(
                file=part.name,
                line=row.line,
                product_id=cells.get("parent_asin"),
                query=cells.get("query"),
                grade=graded(cells.get("relevance_score")),
                split=_split(splits, cells.get("query")),
                product={"title": cells.get("title"), "description": cells.get("description")},
            )


def _split(splits: Mapping[str, Split], query: Any) -> Split | None:
    try:
        return splits.get(folded(values.text(query) or ""))
    except BadValue:
        return None  # the vote is refused for its query


def _products(parts: list[Path], index: CatalogIndex, report: ImportReport, *, keep_rest: bool) -> Iterator[Product]:
    """Yield the products to keep, and tell the report of all rows."""
    prices = PriceReader(locale_sign=POINT)
    for part in parts:
        for row in set_rows(part, "products", _CATALOG_COLUMNS, report):
            price = prices.read(row.cells.get("price"))
            try:
                product = Product.model_validate({**_fields(row.cells, keep_rest=keep_rest), "price": price.amount})
            except ValidationError as error:
                fault = row_fault(error)
                report.refuse(f"product's {fault.field}", part.name, row.line, f"{fault.field}{fault.clause}")
                continue
            except BadValue as error:
                report.refuse("product's details", part.name, row.line, f"details: {error}")
                continue
            if index.meet(product, row.line) is not None:
                reason = f"{product.product_id} was given before, which is kept"
                report.refuse("product given twice", part.name, row.line, reason)
                continue
            for kind in price.kinds:
                after = "" if price.amount is None else price.amount
                report.change(kind, f"{part.name}:{row.line} price", row.cells["price"], after)
            report.keep("products")
            yield product


def _fields(cells: Mapping[str, Any], *, keep_rest: bool) -> dict[str, Any]:
    """Return the fields of a product, its price apart.

    Raises:
        BadValue: the details are no object of names and values.
    """
    author = cells.get("author")
    own = {"subtitle": cells.get("subtitle"), "author": author.get("name") if isinstance(author, Mapping) else author}
    known = [*values.attributes(cells.get("details")).items(), *own.items()]
    path = [part for part in listed(cells.get("categories")) if part]
    return {
        "product_id": cells.get("parent_asin"),
        "title": cells.get("title"),
        "description": [*listed(cells.get("description")), *listed(cells.get("features"))],
        "brand": cells.get("store"),
        "category": " > ".join(map(str, path)) or cells.get("main_category"),
        "attributes": with_rest(known, cells, _USED, keep_rest=keep_rest),
    }
