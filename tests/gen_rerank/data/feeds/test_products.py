"""A row becomes a product, and what was changed is noted, once a value and kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gen_rerank.data.feeds import prices, products
from gen_rerank.data.feeds.columns import FeedColumns
from gen_rerank.data.feeds.prices import PriceReader
from gen_rerank.data.feeds.products import ProductReader, RefusedProduct
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.importing.whole_ids import WHOLE_ID
from gen_rerank.data.records import Product

NAMES = ("id", "title", "description", "brand", "category", "attributes", "price", "sale_price", "currency",
         "availability", "quantity", "color", "weight")  # fmt: skip


def read(keep_rest: bool = False, **cells: Any) -> tuple[Product, list[tuple[str, str]]]:
    columns = FeedColumns(Path("feed.csv"), NAMES, keep_rest=keep_rest)
    row = FeedRow(2, {"id": 1, "title": "Desk", **cells})
    product, notes = ProductReader(columns, PriceReader(file_sign=".")).product(row)
    return product, [(note.kind, note.column) for note in notes]


def test_a_plain_row_has_no_changes() -> None:
    product, notes = read(description="A desk", brand="Acme", price="19.99", availability="true", color="red")
    assert product == Product(
        product_id="1", title="Desk", description="A desk", brand="Acme", price=19.99, available=True,
        attributes={"color": "red"},
    )  # fmt: skip
    assert notes == []


@pytest.mark.parametrize(
    ("title", "clean", "kinds"),
    [
        ("<b>Oak</b> desk", "Oak desk", [products.MARKUP]),
        ("R&amp;B", "R&B", [products.MARKUP]),
        ("Lap\u00adtop", "Laptop", [products.INVISIBLE]),
        ("Lamp \ud83d", "Lamp ?", [products.MENDED]),
        ("<i>Lap\u200btop</i>", "Laptop", [products.INVISIBLE, products.MARKUP]),
        ("<5 mm & more", "<5 mm & more", []),
        (15, "15", []),
        (True, "true", [products.BOOLEAN]),
    ],
)
def test_kinds_of_changes_in_a_text(title: Any, clean: str, kinds: list[str]) -> None:
    product, notes = read(title=title)
    assert product.title == clean
    assert notes == [(kind, "title") for kind in kinds]


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), "NaN", "nan", "NULL", "None", "\\N", "#N/A", "<NA>"])
def test_words_for_nothing_are_absent_and_counted(nothing: Any) -> None:
    product, notes = read(brand=nothing)
    assert product.brand is None
    assert notes == [(products.MISSING, "brand")]


@pytest.mark.parametrize("name", ["NAN", "none", "Nan"])
def test_names_that_look_like_nothing_stay(name: str) -> None:
    assert read(brand=name)[0].brand == name


def test_an_empty_cell_and_null_are_absent_and_no_change() -> None:
    product, notes = read(brand="", category=None, price="", availability="", color=None, weight="")
    assert product == Product(product_id="1", title="Desk")
    assert notes == []


@pytest.mark.parametrize(
    ("given", "product_id", "kinds"),
    [
        (1.0, "1", [WHOLE_ID]),
        ("1.0", "1", [WHOLE_ID]),
        ("007", "007", []),
        ("1.5", "1.5", []),
        ("A\u200b7", "A7", [products.INVISIBLE]),
        ("p<b>1", "p<b>1", []),
    ],
)
def test_ids(given: Any, product_id: str, kinds: list[str]) -> None:
    product, notes = read(id=given)
    assert product.product_id == product_id
    assert notes == [(kind, "id") for kind in kinds]


@pytest.mark.parametrize(
    ("given", "made", "kinds"),
    [
        ({"w": 10, "h": None}, {"w": "10"}, []),
        ('{"w": 10}', {"w": "10"}, []),
        ([{"key": "w", "value": 10}], {"w": "10"}, [products.RECORDS]),
        ('[{"name": "w", "value": "<b>10</b>"}]', {"w": "10"}, [products.RECORDS, products.MARKUP]),
        ({"w": True}, {"w": "true"}, [products.BOOLEAN]),
        ({"w": ["S", "M"]}, {"w": "S, M"}, [products.ONE_TEXT]),
        ({"w": float("nan")}, {}, [products.MISSING]),
        ({"w": "a\u200bb", "h": "c\u200bd"}, {"w": "ab", "h": "cd"}, [products.INVISIBLE, products.INVISIBLE]),
    ],
)
def test_attributes(given: Any, made: dict[str, str], kinds: list[str]) -> None:
    product, notes = read(attributes=given)
    assert product.attributes == made
    assert notes == [(kind, "attributes") for kind in kinds]


@pytest.mark.parametrize("given", [["XL", "EU"], 5, "red, large", '["red"]'])
def test_attributes_that_are_none_refuse_the_row(given: Any) -> None:
    with pytest.raises(RefusedProduct, match=r"^column 'attributes': ") as error:
        read(attributes=given)
    assert error.value.kind == "attributes that cannot be read"


def test_columns_of_attributes_and_the_rest() -> None:
    product, notes = read(True, attributes={"color": "red"}, color="<b>oak</b>", weight=["1", "kg"])
    assert product.attributes == {"color": "red, oak", "weight": "1, kg"}
    assert notes == [(products.MARKUP, "color"), (products.ONE_TEXT, "weight")]
    product, notes = read(True, weight=b"\xff")
    assert product.attributes == {}
    assert notes == [(products.LEFT_OUT, "weight")]


def test_currency_and_sale_price_are_attributes() -> None:
    product, notes = read(price="19.99 EUR", sale_price="14.50 EUR")
    assert product.price == 19.99
    assert product.attributes == {"sale price": "14.5", "currency": "EUR"}
    assert notes == [(prices.CURRENCY, "price"), (prices.CURRENCY, "sale_price")]
    assert read(price="5", currency="USD")[0].attributes == {"currency": "USD"}


def test_a_price_that_is_not_sure_leaves_the_product() -> None:
    product, notes = read(price="-5")
    assert product.price is None
    assert notes == [(prices.NEGATIVE, "price")]


@pytest.mark.parametrize(
    ("cells", "available", "notes"),
    [
        ({"availability": "in stock"}, True, [(products.STOCK, "availability")]),
        ({"availability": 1}, True, []),
        ({"availability": "on the moon", "quantity": 3}, True,
         [(products.NOT_STOCK, "availability"), (products.STOCK, "quantity")]),
        ({"quantity": "0"}, False, []),
    ],
)  # fmt: skip
def test_availability(cells: dict[str, Any], available: bool, notes: list[tuple[str, str]]) -> None:
    product, found = read(**cells)
    assert (product.available, found) == (available, notes)


@pytest.mark.parametrize(
    ("cells", "kind", "reason"),
    [
        ({"id": ""}, "no product_id", "column 'id' has no text"),
        ({"title": "NaN"}, "no title", "column 'title' has no text"),
        ({"title": "\0"}, "no title", "column 'title' has no text"),
        ({"title": ["a"]}, "title that cannot be read", "column 'title': one text is needed, not a list"),
    ],
)
def test_rows_that_give_no_product(cells: dict[str, Any], kind: str, reason: str) -> None:
    with pytest.raises(RefusedProduct) as error:
        read(**cells)
    assert (error.value.kind, str(error.value)) == (kind, reason)


def test_a_text_beyond_the_limit_is_cut_and_said() -> None:
    product, notes = read(description="a" * (2**20 + 5))
    assert product.description == "a" * 2**20
    assert notes == [(products.CUT, "description")]
