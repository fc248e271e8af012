"""Shopify's export: the rows of a product become one."""

from __future__ import annotations

from typing import Any

import pytest

from gen_rerank.data.feeds.availability import NOT_STOCK
from gen_rerank.data.feeds.prices import PriceReader
from gen_rerank.data.feeds.rows import FeedNote, FeedRow, UnreadRow
from gen_rerank.data.feeds.shopify import NEWER, OLDER, merged_products, shopify_columns, shopify_names

NAMES = ("Handle", "Title", "Option1 Name", "Option1 Value", "Variant Price", "Variant Inventory Qty",
         "Variant Inventory Tracker", "Variant Inventory Policy", "Published", "Status")  # fmt: skip


def merged(*rows: tuple[Any, ...], sign: str | None = None) -> list[dict[str, Any]]:
    prices = PriceReader(locale_sign=sign)
    made = iter([FeedRow(i, dict(zip(NAMES, row, strict=True))) for i, row in enumerate(rows, start=2)])
    return [row.cells for row in merged_products(made, OLDER, prices) if isinstance(row, FeedRow)]


def test_both_sets_of_names_are_known() -> None:
    assert shopify_names(NAMES) is OLDER
    assert shopify_names(["Title", "URL handle", "Option1 value", "Price"]) is NEWER
    assert shopify_names(["Handle", "Title", "Price"]) is None
    assert shopify_columns(OLDER, NAMES) == ["Handle", "Title", "Variant Price", "available", "attributes"]


def test_variants_and_pictures_become_one_product() -> None:
    (shirt,) = merged(
        ("shirt", "Shirt", "Size", "S", "19.99", "0", "shopify", "deny", "true", "active"),
        ("shirt", "", "", "M", "9.50", "3", "shopify", "deny", "", ""),
        ("shirt", "", "", "", "", "", "", "", "", ""),
    )
    assert shirt == {
        "Handle": "shirt",
        "Title": "Shirt",
        "Variant Price": "9.50",
        "available": True,
        "attributes": [("Size", ["S", "M"])],
    }


def test_a_product_without_variants_has_no_option() -> None:
    (mug,) = merged(("mug", "Mug", "Title", "Default Title", "9.00", "0", "shopify", "deny", "true", "active"))
    assert mug["attributes"] == []
    assert mug["available"] is False


def test_what_can_be_ordered() -> None:
    stock = [
        ("0", "shopify", "continue", "true", "active"),  # it is sold on
        ("-2", "", "deny", "true", "active"),  # nobody counts it
        ("5", "shopify", "deny", "true", "draft"),
        ("5", "shopify", "deny", "false", "active"),
        ("", "", "", "true", "active"),  # nothing is said
    ]
    found = merged(*((f"p{i}", "Mug", "", "", "9.00", *cells) for i, cells in enumerate(stock)))
    assert [row["available"] for row in found] == [True, True, False, False, None]


@pytest.mark.parametrize(
    ("quantity", "policy", "available"),
    [("-4", "deny", False), ("0", "deny", False), ("3", "deny", True), ("0", "continue", True), ("", "deny", None)],
)
def test_stock_counts_where_the_export_does_not_say_who_counts_it(
    quantity: str, policy: str, available: bool | None
) -> None:
    cells = {"Handle": "mug", "Variant Inventory Qty": quantity, "Variant Inventory Policy": policy}
    (mug,) = merged_products(iter([FeedRow(2, cells)]), OLDER, PriceReader())
    assert isinstance(mug, FeedRow)
    assert mug.cells["available"] is available


def test_stock_that_is_not_understood_is_noted() -> None:
    cells = {"Handle": "mug", "Variant Inventory Qty": "lots", "Variant Inventory Tracker": "shopify"}
    (mug,) = merged_products(iter([FeedRow(2, cells)]), OLDER, PriceReader())
    assert isinstance(mug, FeedRow)
    assert mug.cells["available"] is None
    assert mug.notes == (FeedNote(NOT_STOCK, "Variant Inventory Qty", "lots", ""),)


def test_rows_that_could_not_be_read_come_through_and_rows_without_a_handle_stay_alone() -> None:
    bad = UnreadRow(4, "too many cells", "11 cells")
    rows = iter([FeedRow(2, {"Handle": "a"}), FeedRow(3, {"Handle": "a"}), bad, FeedRow(5, {}), FeedRow(6, {})])
    assert [row.line for row in merged_products(rows, OLDER, PriceReader())] == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("sign", "written", "lowest"),
    [
        (",", ["25,00", "15,50"], "15,50"),
        (None, ["1,025.00", "2,015.50", 3000], "1,025.00"),
        (None, ["100,00 €", "99,00 €"], "99,00 €"),
        (",", ["1.299", "1.300,00"], "1.299"),
        (None, ["1.299", "15.00"], "1.299"),  # it may be the lowest, so the product has no price
        (None, ["call us", "15.00"], "call us"),
        (None, ["NaN", "15.00", "", None], "15.00"),
    ],
)
def test_the_lowest_price_is_read_as_prices_are(sign: str | None, written: list[Any], lowest: str) -> None:
    rows = [("p", "Mug", "", "", price, "", "", "", "", "") for price in written]
    for order in (rows, rows[::-1]):
        (mug,) = merged(*order, sign=sign)
        assert mug["Variant Price"] == lowest


def test_a_variant_without_a_price_keeps_its_option_and_its_stock() -> None:
    (shirt,) = merged(
        ("shirt", "Shirt", "Size", "S", "19.99", "0", "shopify", "deny", "true", "active"),
        ("shirt", "", "", "L", "", "3", "shopify", "deny", "", ""),
    )
    assert shirt["Variant Price"] == "19.99"
    assert shirt["available"] is True
    assert shirt["attributes"] == [("Size", ["S", "L"])]
