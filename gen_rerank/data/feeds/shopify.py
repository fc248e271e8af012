"""Shopify's product export: several rows a product, one for each variant and picture, become one row.

The rows of a product stand together and share its handle; only the first says the title. The product costs what its
cheapest variant costs, can be ordered where one variant can, and has the values of all variants as attributes. What is
a draft or not published cannot be ordered. A price that is not sure, or not understood, may be the lowest, so it stands
for the product, and is left out as such prices are. Stock counts where a tracker counts it, or where the export does
not say who does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.feeds.availability import NOT_STOCK, availability
from gen_rerank.data.feeds.prices import PriceRead, PriceReader
from gen_rerank.data.feeds.rows import FeedNote, FeedRow, FeedRows, UnreadRow
from gen_rerank.data.missing import is_nothing

_OPTIONS = 3
_NO_OPTION = ("Title", "Default Title")  # how Shopify writes that there are no variants


@dataclass(frozen=True)
class ShopifyNames:
    """The names of the columns that are read together; the export has had two sets of them."""

    handle: str = "Handle"
    price: str = "Variant Price"
    quantity: str = "Variant Inventory Qty"
    tracker: str = "Variant Inventory Tracker"
    policy: str = "Variant Inventory Policy"
    published: str = "Published"
    status: str = "Status"
    option_name: str = "Option{} Name"
    option_value: str = "Option{} Value"


OLDER = ShopifyNames()
NEWER = ShopifyNames(
    "URL handle", "Price", "Inventory quantity", "Inventory tracker", "Continue selling when out of stock",
    "Published on online store", "Status", "Option{} name", "Option{} value",
)  # fmt: skip
_SELLS_ON = ("continue", "true")


@dataclass
class _Variants:
    """What the rows of one product say together."""

    prices: list[Any] = field(default_factory=list)
    can_be_ordered: list[bool] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    notes: list[FeedNote] = field(default_factory=list)


def shopify_names(columns: Collection[str]) -> ShopifyNames | None:
    """Return the names of a Shopify export's columns; None where these columns are of none.

    Example:
        >>> shopify_names(["Handle", "Title", "Option1 Value", "Variant Price"]).price
        'Variant Price'
    """
    for names in (OLDER, NEWER):
        if {names.handle, names.price, names.option_value.format(1)} <= set(columns):
            return names
    return None


def shopify_columns(names: ShopifyNames, columns: Collection[str]) -> list[str]:
    """Return the columns that rows have once they are merged: what is read together is in one of ours."""
    read = {names.quantity, names.tracker, names.policy, names.published, names.status}
    read |= {each.format(n + 1) for each in (names.option_name, names.option_value) for n in range(_OPTIONS)}
    return [name for name in columns if name not in read] + ["available", "attributes"]


def merged_products(rows: FeedRows, names: ShopifyNames, prices: PriceReader) -> FeedRows:
    """Yield one row a product, with the line of its first row; rows that could not be read as they come."""
    for (unread, _), group in groupby(rows, lambda row: _group(row, names)):
        if unread:
            yield from group
        else:
            yield _merged(group, names, prices)


def _group(row: FeedRow | UnreadRow, names: ShopifyNames) -> tuple[bool, Any]:
    if isinstance(row, UnreadRow):
        return True, None
    handle = row.cells.get(names.handle)
    # Rows without one belong to nobody, each for itself.
    return False, handle if _said(handle) else row.line


def _merged(group: Iterator[Any], names: ShopifyNames, prices: PriceReader) -> FeedRow:
    first: FeedRow = next(group)
    cells, notes, variants = dict(first.cells), list(first.notes), _Variants()
    named = [values.text(cells.get(names.option_name.format(n + 1))) or "" for n in range(_OPTIONS)]
    _take(variants, first, names, named)
    for row in group:
        notes += row.notes
        _take(variants, row, names, named)
        for name, value in row.cells.items():
            if not _said(cells.get(name)):
                cells[name] = value
    if variants.prices:
        cells[names.price] = min(variants.prices, key=lambda price: _cheapness(prices.read(price)))
    hidden = _said(cells.get(names.status)) in ("draft", "archived") or _said(cells.get(names.published)) == "false"
    available = any(variants.can_be_ordered) if variants.can_be_ordered else None
    merged = {name: cells.get(name) for name in shopify_columns(names, list(cells))}
    return FeedRow(
        first.line,
        {**merged, "available": False if hidden else available, "attributes": list(variants.options.items())},
        (*notes, *variants.notes),
    )


def _take(variants: _Variants, row: FeedRow, names: ShopifyNames, option_names: list[str]) -> None:
    """Take a variant's price, stock and options from its row, what there is of them; rows of pictures have none."""
    price = row.cells.get(names.price)
    if _said(price):
        variants.prices.append(price)
    tracked = names.tracker not in row.cells or _said(row.cells[names.tracker])
    quantity = row.cells.get(names.quantity)
    if _said(quantity):
        if not tracked or _said(row.cells.get(names.policy)) in _SELLS_ON:
            variants.can_be_ordered.append(True)
        else:
            _take_stock(variants, names.quantity, quantity)
    for place, name in enumerate(option_names, start=1):
        value = values.text(row.cells.get(names.option_value.format(place)))
        if name and value and value not in _NO_OPTION:
            known = variants.options.setdefault(name, [])
            if value not in known:
                known.append(value)


def _take_stock(variants: _Variants, column: str, quantity: Any) -> None:
    try:
        found = availability(quantity)
    except values.BadValue:
        variants.notes.append(FeedNote(NOT_STOCK, column, quantity, ""))
        return
    if found is not None:
        variants.can_be_ordered.append(found)


def _said(value: Any) -> str:
    """Return a cell as it is compared; an empty text where it says nothing."""
    return "" if value is None or is_nothing(value) else str(value).strip().casefold()


def _cheapness(price: PriceRead) -> float:
    """Return a price as it is compared: one that could not be read comes first."""
    return float("-inf") if price.amount is None else price.amount
