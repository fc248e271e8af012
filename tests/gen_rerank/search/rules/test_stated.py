"""What a query states for certain, and what only sounds so."""

from __future__ import annotations

import pytest

from gen_rerank import Product
from gen_rerank.search.rules.file import StatedQuery
from gen_rerank.search.rules.stated import Stated


def shop(name: str, *values: str) -> list[Product]:
    return [Product(product_id=value, title="Thing", attributes={name: value}) for value in values]


@pytest.mark.parametrize(
    ("query", "name", "values", "left"),
    [
        ("boots size 9", "shoe size", ("8", "9", "9.5"), ["9"]),
        ("9 size boots", "size", ("8", "9"), ["9"]),
        ("size 9 or size 10 boots", "size", ("8", "9", "10"), ["9", "10"]),
        ("9 pairs of boots", "size", ("8", "9"), ["8", "9"]),
        ("boots size 12", "size", ("8", "9"), []),  # nobody has it, and it is stated all the same
        ("boots, any size", "size", ("8", "9"), ["8", "9"]),
        ("phone 512GB", "storage", ("64 gb", "512 gb"), ["512 gb"]),
        ('sleeve for 15" laptop', "fits laptop", ("13 inch", "15 inch"), ["15 inch"]),
        ("red wine glass", "colour", ("red", "clear"), ["red", "clear"]),  # a value alone may be anything
        ("glass in the colour red", "colour", ("red", "clear"), ["red"]),
        ("boots size 9", "size", ("8, 9, 10", "11, 12"), ["8, 9, 10"]),  # a list of sizes
    ],
)
def test_what_is_left(query: str, name: str, values: tuple[str, ...], left: list[str]) -> None:
    products = shop(name, *values)
    stated = Stated(StatedQuery(attributes=[name]), query, products)
    assert [product.product_id for product in products if stated.why(product) is None] == left


def test_who_says_nothing_stays() -> None:
    plain = Product(product_id="p", title="Boot")
    assert Stated(StatedQuery(attributes=["size"]), "boot size 9", [plain, *shop("size", "8")]).why(plain) is None


@pytest.mark.parametrize("words", ["not", "no", "without", "except", "other than", "from anyone but"])
def test_a_brand_is_excluded_only_when_that_is_wanted(words: str) -> None:
    product = Product(product_id="p", title="Mattress", brand="Kestrel & Co")
    query = f"mattress {words} Kestrel & Co"
    assert Stated(StatedQuery(), query, [product]).why(product) is None
    wanted = Stated(StatedQuery(excluded_brands=True), query, [product])
    assert wanted.why(product) == "the query says not Kestrel & Co"
    assert wanted.why(Product(product_id="q", title="Mattress", brand="Kestrel")) is None
    asked_for = Stated(StatedQuery(excluded_brands=True), "Kestrel & Co mattress, not soft", [product])
    assert asked_for.why(product) is None
