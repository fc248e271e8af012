"""The Chorus electronics shop: grades of 0 to 3, three raters' single grades in a file beside, Icecat's catalog.

Where single grades are there, they are the labels and their mean is the relevance; the final grade stands for pairs
that have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import (
    TableRows,
    find_file,
    graded,
    row_of,
    rows_by_id,
    set_file,
    set_rows,
    with_rest,
)

SCALE = NumberScale(Fraction(0), Fraction(3))

_RATED = ("query", "docid", "rating")
_RATER = "_rating"
_FINAL = "final_rating"
# Of texts, numbers, true and false.
_TYPES = ("attr_t_", "attr_n_", "attr_b_")
_USED = ("id", "title", "short_description", "supplier", "price")
_CENTS = 100


def open_chorus(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open Chorus: a folder with `…_rated`, and perhaps `…_individual_ratings` and the catalog `icecat-products…`.

    Without a catalog beside, products have the names and descriptions of the individual ratings, or those of a catalog
    that is in the data folder already. Prices are in cents. The set has no splits.

    Raises:
        BadInput: a file is missing or cannot be read, or a column is missing.
    """
    rated = set_file(source, "judgments", "rated", "*_rated")
    single = find_file(source, "*individual_ratings")
    catalog = find_file(source, "icecat*", "products")
    products: TableRows = {}
    if catalog:
        rows = set_rows(catalog, "products", ("id", "title"), report)
        products = rows_by_id(rows, catalog, "id", partial(_fields, keep_rest=options.keep_rest), report)
    single_votes = _single_votes(single, products, report) if single else iter(())
    # Single grades first: they bring texts of products, where there is no catalog.
    return VoteSource(chain(single_votes, _votes(rated, products, report)), SCALE)


def _fields(cells: Mapping[str, Any], *, keep_rest: bool) -> dict[str, Any]:
    """Return the fields of a product of Icecat's.

    Raises:
        BadValue: the price is no number.
    """
    cents = values.number(cells.get("price"))
    typed = {name: name[len(_TYPES[0]) :].replace("_", " ") for name in cells if name.startswith(_TYPES)}
    return {
        "title": cells.get("title"),
        "description": cells.get("short_description"),
        "brand": cells.get("supplier"),
        "price": None if cents is None else cents / _CENTS,
        "attributes": with_rest(
            [(said, cells[name]) for name, said in typed.items()], cells, [*_USED, *typed], keep_rest=keep_rest
        ),
    }


def _single_votes(file: Path, products: TableRows, report: ImportReport) -> Iterator[Vote]:
    for row in set_rows(file, "pairs with single grades", ("query", "docid"), report):
        cells = row.cells
        named = {"title": cells.get("name"), "description": cells.get("description")}
        for column, grade in cells.items():
            if column.endswith(_RATER) and column != _FINAL and grade not in (None, ""):
                yield Vote(
                    file=file.name,
                    line=row.line,
                    product_id=cells.get("docid"),
                    query=cells.get("query"),
                    grade=grade,
                    rater=column.removesuffix(_RATER),
                    product=row_of(products, cells.get("docid")) or named,
                )


def _votes(file: Path, products: TableRows, report: ImportReport) -> Iterator[Vote]:
    for row in set_rows(file, "judgments", _RATED, report):
        cells = row.cells
        yield Vote(
            file=file.name,
            line=row.line,
            product_id=cells.get("docid"),
            query=cells.get("query"),
            grade=graded(cells.get("rating")),
            product=row_of(products, cells.get("docid")),
        )
