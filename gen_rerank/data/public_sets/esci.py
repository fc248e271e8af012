"""ESCI, Amazon's shopping queries: four letters instead of grades, three countries, products in a file of their own.

The letters are worth what ESCI's own nDCG gives them: 1, 0.1, 0.01 and 0. So its figures can be compared with
published ones; as a target to train on, they put substitutes nearer to the irrelevant than people would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.importing.grading import WordScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import (
    TableRows,
    find_file,
    graded,
    listed,
    row_of,
    rows_by_id,
    set_file,
    set_parts,
    set_rows,
)
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput

LOCALES = ("us", "es", "jp")
_LETTERS = {"e": 1.0, "s": 0.1, "c": 0.01, "i": 0.0}
_WORDS = {"exact": 1.0, "substitute": 0.1, "complement": 0.01, "irrelevant": 0.0}
GAINS = WordScale(_LETTERS | _WORDS)

_EXAMPLES = ("query", "query_id", "product_id", "product_locale", "esci_label", "split")
_PRODUCTS = ("product_id", "product_title", "product_locale")
# A part of the set that figures are often told of; the slice of its queries has its name.
_SMALL = "small_version"


def open_esci(source: Path, options: JudgmentOptions, report: ImportReport, *, locale: str = "us") -> VoteSource:
    """Open ESCI: a folder with its files of examples and of products, or a file or parts in which they are joined.

    Its own split is kept: train and test, so that there are no validation queries. The description is the product's
    description followed by its bullet points.

    Args:
        source: the folder, or the joined file.
        options: `scale` takes other worths of the letters.
        report: is told of each row.
        locale: the country whose queries and products are read: us, es or jp.

    Raises:
        BadInput: no such locale, a file is missing or cannot be read, or a column is missing.
    """
    if locale not in LOCALES:
        raise BadInput(f"--locale {locale}: ESCI has {', '.join(LOCALES)}")
    report.found["locale"] = locale
    examples = find_file(source, "*examples*") if source.is_dir() else None
    if examples is None:
        return VoteSource(_votes(set_parts(source), {}, locale, report), GAINS)
    file = set_file(source, "products", "products", "*products*")
    return VoteSource(_votes([examples], _products(file, locale, report), locale, report), GAINS)


def _products(file: Path, locale: str, report: ImportReport) -> TableRows:
    rows = (row for row in set_rows(file, "products", _PRODUCTS, report) if row.cells.get("product_locale") == locale)
    return rows_by_id(rows, file, "product_id", _fields, report)


def _fields(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": cells.get("product_title"),
        "description": [*listed(cells.get("product_description")), *listed(cells.get("product_bullet_point"))],
        "brand": cells.get("product_brand"),
        "attributes": [("color", cells.get("product_color"))],
    }


def _votes(files: list[Path], products: TableRows, locale: str, report: ImportReport) -> Iterator[Vote]:
    others: Counter[str] = Counter()
    for file in files:
        for row in set_rows(file, "judgments", _EXAMPLES, report):
            if (there := row.cells.get("product_locale")) == locale:
                yield _vote(file, row, products)
            else:
                others[str(there)] += 1
    if others:
        counted = ", ".join(f"{number:,} of {name}" for name, number in sorted(others.items()))
        report.found["judgments of other locales"] = f"{counted}; left out"


def _vote(file: Path, row: FeedRow, products: TableRows) -> Vote:
    cells = row.cells
    return Vote(
        file=file.name,
        line=row.line,
        product_id=cells.get("product_id"),
        query=cells.get("query"),
        query_id=graded(cells.get("query_id")),
        grade=graded(cells.get("esci_label")),
        split=cells.get("split"),
        tags=(_SMALL,) if _is_true(cells.get(_SMALL)) else (),
        product=_fields(cells) if "product_title" in cells else row_of(products, cells.get("product_id")),
    )


def _is_true(value: Any) -> bool:
    try:
        return values.boolean(value) is True
    except BadValue:
        return False
