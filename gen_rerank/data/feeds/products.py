"""A row of a feed becomes a product, and what was changed on the way is noted: before and after are compared.

What a value becomes, `values` decides, as at every door. Here stands only what feeds have more: words for a missing
value, ids that a spreadsheet made fractions of, prices, stock, and columns that become attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from gen_rerank.data import values
from gen_rerank.data.cleaning import READ_CHARACTERS, clean, mend, visible
from gen_rerank.data.feeds.availability import NOT_STOCK, STOCK, availability
from gen_rerank.data.feeds.columns import FeedColumns, FeedField
from gen_rerank.data.feeds.currencies import currency_name
from gen_rerank.data.feeds.prices import PriceReader
from gen_rerank.data.feeds.rows import FORMULA, FeedNote, FeedRow
from gen_rerank.data.importing.whole_ids import WHOLE_ID, whole_id
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.data.missing import is_nothing
from gen_rerank.data.records import Product, row_fault

MISSING = "missing value written as NaN or a word"
MENDED = "broken characters mended"
INVISIBLE = "invisible characters removed"
MARKUP = "HTML removed"
CUT = "text cut at its limit"
ONE_TEXT = "list or object written as one text"
BOOLEAN = "true or false written as a word"
RECORDS = "attributes read from a list of records"
LEFT_OUT = "attribute left out: it cannot be read"

_TEXTS = (FeedField.TITLE, FeedField.DESCRIPTION, FeedField.BRAND, FeedField.CATEGORY)
_DEEPEST = 4


class RefusedProduct(ValueError):
    """A row that gives no product: a few words to count it by, and the reason in a sentence."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass
class _Cells:
    """The cells of one row, each where it belongs."""

    fields: dict[FeedField, tuple[str, Any]] = field(default_factory=dict)
    attributes: list[tuple[str, str, Any]] = field(default_factory=list)  # name, column, value


class ProductReader:
    """Makes products of rows.

    Args:
        columns: which column is what; columns without a role are counted there.
        prices: reads prices.
    """

    def __init__(self, columns: FeedColumns, prices: PriceReader) -> None:
        self.columns = columns
        self.prices = prices

    def product(self, row: FeedRow) -> tuple[Product, list[FeedNote]]:
        """Return the product that a row is, and what was changed.

        Raises:
            RefusedProduct: it has no id or title, or attributes that are none.
        """
        notes = list(row.notes)
        cells = self._sorted(row, notes)
        made: dict[str, Any] = {name: cells.fields[name][1] if name in cells.fields else None for name in _TEXTS}
        made["product_id"] = _identifier(*cells.fields.get(FeedField.PRODUCT_ID, ("", None)), notes)
        made["available"] = _available(cells, notes)
        made["price"], priced = self._prices(cells, notes)
        made["attributes"] = [*_attributes(cells, notes), *priced.items()]
        try:
            product = Product.model_validate(made)
        except ValidationError as error:
            raise self._refused(error, row) from error
        for name in _TEXTS:
            if name in cells.fields:
                column, before = cells.fields[name]
                after = getattr(product, name)
                if before != after:
                    notes += (FeedNote(kind, column, before, after) for kind in _kinds(before))
        return product, notes

    def _sorted(self, row: FeedRow, notes: list[FeedNote]) -> _Cells:
        """Return the cells that hold something by what they are, and note those that hold a word for nothing."""
        cells = _Cells()
        for name, value in row.cells.items():
            if value is None or value == "":
                continue
            role = self.columns.role(name)
            if role.field is None and role.attribute is None:
                if name not in self.columns.index:
                    self.columns.rest[name] += 1
                continue
            if is_nothing(value):
                notes.append(FeedNote(MISSING, name, value, ""))
            elif role.field is not None:
                cells.fields[role.field] = (name, value)
            elif role.attribute is not None:
                cells.attributes.append((role.attribute, name, value))
        return cells

    def _prices(self, cells: _Cells, notes: list[FeedNote]) -> tuple[float | None, dict[str, str]]:
        """Return the price, and as attributes the sale price and the currency."""
        amounts: dict[FeedField, float | None] = {}
        currency = None
        for name in (FeedField.PRICE, FeedField.SALE_PRICE):
            if name not in cells.fields:
                continue
            column, value = cells.fields[name]
            read = self.prices.read(value)
            amounts[name] = read.amount
            currency = currency or read.currency
            after = "" if read.amount is None else values.text(read.amount)
            notes += [FeedNote(kind, column, value, after) for kind in read.kinds]
        kept: dict[str, str] = {}
        sale = amounts.get(FeedField.SALE_PRICE)
        if sale is not None:
            kept["sale price"] = values.required_text(sale)
        given = values.joined_text(cells.fields[FeedField.CURRENCY][1]) if FeedField.CURRENCY in cells.fields else None
        if currency or given:
            kept["currency"] = currency or currency_name(given) or ""
        return amounts.get(FeedField.PRICE), kept

    def _refused(self, error: ValidationError, row: FeedRow) -> RefusedProduct:
        fault = row_fault(error)
        column = self.columns.column(FeedField(fault.field))
        kind = f"no {fault.field}" if fault.missing else f"{fault.field} that cannot be read"
        if any(note.kind == FORMULA and note.column == column for note in row.notes):
            return RefusedProduct(kind, f"column {column!r} has a {FORMULA}")
        return RefusedProduct(kind, f"column {column!r}{fault.clause}")


def _available(cells: _Cells, notes: list[FeedNote]) -> bool | None:
    """Return what the words for it say, or else the number in stock."""
    for name in (FeedField.AVAILABLE, FeedField.QUANTITY):
        column, value = cells.fields.get(name, ("", None))
        found, kind = _stock_of_text(value) if type(value) is str else _stock(value)
        if kind:
            notes.append(FeedNote(kind, column, value, values.text(found) or ""))
        if found is not None:
            return found
    return None


def _stock(value: Any) -> tuple[bool | None, str]:
    """Return what a value says of what is in stock, and the kind of change where it is no plain true or false."""
    try:
        return values.boolean(value), ""
    except values.BadValue:
        pass
    try:
        return availability(value), STOCK
    except values.BadValue:
        return None, NOT_STOCK


_stock_of_text = lru_cache(maxsize=1024)(_stock)  # a feed has a few words for it, and a million times


def _attributes(cells: _Cells, notes: list[FeedNote]) -> list[tuple[str, str]]:
    """Return the attributes of the column for them, and those that are columns of their own, by name.

    Raises:
        RefusedProduct: the column for them holds none.
    """
    pairs: list[tuple[str, str]] = []
    if FeedField.ATTRIBUTES in cells.fields:
        column, given = cells.fields[FeedField.ATTRIBUTES]
        opened = _from_json(given)
        try:
            made = values.attributes(opened)
        except values.BadValue as error:
            raise RefusedProduct("attributes that cannot be read", f"column {column!r}: {error}") from error
        pairs += made.items()
        notes += _attribute_notes(column, opened, made)
    for name, column, value in cells.attributes:
        try:
            written = values.joined_text(value)
        except values.BadValue:
            notes.append(FeedNote(LEFT_OUT, column, value, ""))
            continue
        if written is not None:
            pairs.append((name, written))
        if written != value:
            notes += (FeedNote(kind, column, value, written or "") for kind in _kinds(value))
    return pairs


def _from_json(given: Any) -> Any:
    """Return attributes that are written as JSON text as what it says; others as they are."""
    if not isinstance(given, str):
        return given
    try:
        return read_json(mend(given).encode())
    except NotJson:
        return given


def _attribute_notes(column: str, opened: Any, made: dict[str, str]) -> Iterator[FeedNote]:
    """Yield what was changed in a column of attributes, value by value."""
    if isinstance(opened, list):
        yield FeedNote(RECORDS, column, opened, made)
        opened = dict(enumerate(each.get("value") for each in opened if isinstance(each, dict)))
    for value in opened.values() if isinstance(opened, dict) else ():
        for kind in _kinds(value):
            yield FeedNote(kind, column, value, values.joined_text(value) or "")


def _identifier(column: str, value: Any, notes: list[FeedNote]) -> Any:
    """Return an id; of "1.0", as spreadsheets and pandas write a number, the point and the zero go."""
    written = value.strip() if isinstance(value, str) else value
    if isinstance(written, str) and whole_id(written) != written:
        notes.append(FeedNote(WHOLE_ID, column, value, whole_id(written)))
        return whole_id(written)
    if isinstance(value, float) and value.is_integer():
        notes.append(FeedNote(WHOLE_ID, column, value, values.identifier(value)))
    elif isinstance(value, str) and not value.isascii() and visible(value) != value:
        notes.append(FeedNote(INVISIBLE, column, value, values.identifier(value)))
    return value


def _kinds(value: Any) -> list[str]:
    """Return what is done to a value when it becomes one text, each kind once."""
    kinds = [ONE_TEXT] if isinstance(value, list | tuple | dict) else []
    for leaf in _leaves(value, _DEEPEST):
        kinds += (kind for kind in _leaf_kinds(leaf) if kind not in kinds)
    return kinds


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        if depth:
            for each in value:
                yield from _leaves(each, depth - 1)
    else:
        yield value


def _leaf_kinds(value: Any) -> Iterator[str]:
    """Yield the steps of cleaning that change a value, in their order."""
    if isinstance(value, bool):
        yield BOOLEAN
    elif isinstance(value, float) and not math.isfinite(value):
        yield MISSING
    elif isinstance(value, str):
        if len(value) > READ_CHARACTERS:
            yield CUT
        read = value[:READ_CHARACTERS]
        whole = mend(read)
        if whole != read:
            yield MENDED
        seen = visible(whole)
        if seen != whole:
            yield INVISIBLE
        if clean(seen) != seen:
            yield MARKUP
