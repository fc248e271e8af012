"""Which products a rule is about."""

from __future__ import annotations

import pytest

from gen_rerank import Product
from gen_rerank.search.rules.matching import Matching, folded_value, run_at, value_of

KNIFE = Product(
    product_id="k1",
    title="Chef's knife, 20 cm",
    brand="Hexlin",
    category="Kitchen > Knives",
    attributes={"Seller": "Anna", "blade": "steel"},
    price=20,
)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ids": ["k1"]}, "id k1"),
        ({"ids": ["k"]}, None),
        ({"brands": ["HEXLIN"]}, "brand Hexlin"),
        ({"brands": ["Hex"]}, None),
        ({"categories": ["kitchen"]}, "category Kitchen > Knives"),
        ({"categories": ["Kitchen>Knives"]}, "category Kitchen > Knives"),
        ({"categories": ["Kitchen > Knives > Bread"]}, None),
        ({"categories": ["Kit"]}, None),
        ({"words": ["CHEF'S KNIFE"]}, 'the words "CHEF\'S KNIFE"'),
        ({"words": ["20cm"]}, "the words '20cm'"),
        ({"words": ["knif"]}, None),
        ({"words": ["knife chef"]}, None),
        ({"brands": ["Other"], "words": ["steel"]}, "the words 'steel'"),
    ],
)
def test_by_what_a_product_is_meant(given: dict[str, list[str]], why: str | None) -> None:
    assert Matching(**given).why(KNIFE) == why


def test_a_product_without_brand_or_category_is_not_meant_by_them() -> None:
    assert Matching(brands=["x"], categories=["x"]).why(Product(product_id="p", title="x")) is None


def test_fields_are_those_of_a_product_or_attributes() -> None:
    fields = ("brand", "Title", "price", "SELLER", "colour")
    assert [value_of(KNIFE, name) for name in fields] == ["Hexlin", "Chef's knife, 20 cm", "20", "Anna", None]
    assert folded_value(KNIFE, "seller") == "anna"


def test_a_run_of_no_words_stands_nowhere() -> None:
    assert run_at(("a", "b"), ()) is None
    assert run_at((), ("a",)) is None
    assert run_at(("a", "b", "a", "c"), ("a", "c")) == 2
