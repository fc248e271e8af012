"""Home Depot's product search relevance: a mean of raters' 1 to 3, products' texts and attributes in files beside.

How many raters there were and what each of them said is not published, so there are no labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.public_sets.set_files import TableRows, find_file, graded, row_of, rows_by_id, set_file, set_rows
from gen_rerank.data.values import BadValue

SCALE = NumberScale(Fraction(1), Fraction(3))

_TRAIN = ("product_uid", "product_title", "search_term", "relevance")
_BRAND = "MFG Brand Name"
_BULLET = re.compile(r"Bullet\d+")
_NOTHING = frozenset(("n/a", "na", "none"))
# The files are called latin-1; this one has the same letters and, as browsers read latin-1, quotes and signs as well.
_LATIN = "cp1252"


@dataclass
class _Described:
    """What the file of attributes says of a product."""

    brand: Any = None
    bullets: list[Any] = field(default_factory=list)
    others: list[tuple[str, Any]] = field(default_factory=list)


def open_homedepot(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open Home Depot's set: a folder with `train`, or that file alone, which has the titles of products.

    Beside it, `product_descriptions` gives descriptions, and `attributes` brands, bullet points, which follow the
    description, and attributes. What is no UTF-8 is read as latin-1. `test` has no grades and is not read; the set has
    no splits.

    Raises:
        BadInput: a file is missing or cannot be read, or a column is missing.
    """
    train = set_file(source, "judgments", "train") if source.is_dir() else source
    judged = list(set_rows(train, "judgments", _TRAIN, report, legacy=_LATIN))
    descriptions: TableRows = {}
    described: dict[str, _Described] = {}
    if source.is_dir():
        if file := find_file(source, "product_descriptions"):
            rows = set_rows(file, "descriptions", ("product_uid", "product_description"), report, legacy=_LATIN)
            descriptions = rows_by_id(rows, file, "product_uid", dict, report)
        if file := find_file(source, "attributes"):
            rows = set_rows(file, "attributes", ("product_uid", "name", "value"), report, legacy=_LATIN)
            described = _described(rows, file, {_uid(row) for row in judged}, report)
    return VoteSource(_votes(train.name, judged, descriptions, described), SCALE)


def _described(
    rows: Iterable[FeedRow], file: Path, wanted: Set[str | None], report: ImportReport
) -> dict[str, _Described]:
    """Return what the rows of attributes say of the products that are wanted."""
    found: dict[str, _Described] = {}
    for row in rows:
        try:
            uid, name = values.identifier(row.cells.get("product_uid")), values.required_text(row.cells.get("name"))
        except BadValue as error:
            report.refuse("unusable row", file.name, row.line, f"product_uid or name {error}")
            continue
        value = row.cells.get("value")
        if uid not in wanted:
            continue
        product = found.setdefault(uid, _Described())
        if _BULLET.fullmatch(name):
            product.bullets.append(value)
        elif name != _BRAND:
            product.others.append((name, value))
        elif str(value).strip().casefold() not in _NOTHING:
            product.brand = value
    return found


def _votes(
    file: str, judged: list[FeedRow], descriptions: TableRows, described: Mapping[str, _Described]
) -> Iterator[Vote]:
    for row in judged:
        cells, uid = row.cells, _uid(row)
        more = described.get(uid or "", _Described())
        text = row_of(descriptions, uid).get("product_description")
        yield Vote(
            file=file,
            line=row.line,
            product_id=cells.get("product_uid"),
            query=cells.get("search_term"),
            grade=graded(cells.get("relevance")),
            product={
                "title": cells.get("product_title"),
                "description": [text, *more.bullets],
                "brand": more.brand,
                "attributes": more.others,
            },
        )


def _uid(row: FeedRow) -> str | None:
    """Return the id of a judged product; None where there is none, which makes a refused vote."""
    try:
        return values.identifier(row.cells.get("product_uid"))
    except BadValue:
        return None
