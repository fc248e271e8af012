"""Columns: known names, people's own, and what becomes of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank.data.feeds.columns import FeedColumns, FeedField, Role
from gen_rerank.errors import BadInput

FILE = Path("feed.csv")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["id", "title"], "product_id ← id, title ← title"),
        (["Handle", "Title", "Body (HTML)", "Vendor"],
         "product_id ← Handle, title ← Title, description ← Body (HTML), brand ← Vendor"),
        (["id", "g:id", "title", "g:title"], "product_id ← g:id, title ← g:title"),
        (["SKU", "ID", "Name", "Regular price", "In stock?"],
         "product_id ← ID, title ← Name, price ← Regular price, available ← In stock?"),
        (["Artikelnummer", "Bezeichnung", "Hersteller", "Preis"],
         "product_id ← Artikelnummer, title ← Bezeichnung, brand ← Hersteller, price ← Preis"),
        (["parent_asin", "TITLE", "main_category"],
         "product_id ← parent_asin, title ← TITLE, category ← main_category"),
    ],
)  # fmt: skip
def test_known_names(names: list[str], said: str) -> None:
    assert FeedColumns(FILE, names).said == said


def test_people_overrule() -> None:
    columns = FeedColumns(FILE, ["id", "title", "Name", "model no"], {"title": "name", "product_id": "model no"})
    assert columns.said == "product_id ← model no, title ← Name"
    assert columns.role("title") == Role()


def test_what_describes_a_product_is_an_attribute_and_the_rest_is_where_it_is_asked_for() -> None:
    names = ["id", "title", "Colour", "g:shipping_weight"]
    assert FeedColumns(FILE, names).role("Colour") == Role(attribute="color")
    assert FeedColumns(FILE, names).role("g:shipping_weight") == Role()
    kept = FeedColumns(FILE, names, keep_rest=True)
    assert kept.role("g:shipping_weight") == Role(attribute="shipping weight")
    assert kept.attributes_said == "shipping weight ← g:shipping_weight, color ← Colour"


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1", "__index_level_0__"])
def test_pandas_index_is_dropped(name: str) -> None:
    columns = FeedColumns(FILE, [name, "id", "title"], keep_rest=True)
    assert columns.index == [name]
    assert columns.role(name) == Role()


def test_a_column_that_comes_late_gets_a_role_too() -> None:
    columns = FeedColumns(FILE, ["id", "title"])
    assert columns.role("brand") == Role(FeedField.BRAND)
    assert columns.role("manufacturer") == Role()


@pytest.mark.parametrize(
    ("names", "overrides", "words"),
    [
        (["a", "title"], {}, r"feed\.csv: no column is known for product_id; there are a, title; name one by --map"),
        (["id", ""], {}, r"no column is known for title; there are id, \(without a name\)"),
        (["id", "title"], {"tittle": "title"}, "there is no field 'tittle'; there are product_id, title"),
        (["id", "title"], {"brand": "Vendor"}, "has no column 'Vendor', which --map names; there are id, title"),
        (["id", "title"], {"brand": "title", "title": "title"}, "the column 'title' is named for two fields"),
    ],
)
def test_what_cannot_be_mapped_is_said(names: list[str], overrides: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        FeedColumns(FILE, names, overrides)
