"""What a rule costs, on two queries whose nDCG one can work out."""

from __future__ import annotations

import json
from io import StringIO
from math import log2

import pytest
from rich.console import Console

from gen_rerank import Product, ProductCandidate
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.pricing import JudgedSearch, PriceList


def search(good: str, second: str = "p2") -> JudgedSearch:
    """Three products, p1 and p2 of brand A, in this order; one is relevant, p3 is not judged."""
    products = [Product(product_id=f"p{i}", title="x", brand="A" if i < 3 else "B") for i in (1, 2, 3)]
    found = tuple(ProductCandidate(product) for product in products)
    return JudgedSearch("x", found, tuple(Hit(product, {}) for product in products), {good: 1.0, second: 0.0})


def test_prices_by_hand() -> None:
    prices = PriceList(Rules(blocked=[{"ids": ["p1"]}], caps={"most": {"brand": 1}, "first": 2}), lambda ids: None)
    for _ in range(3):
        prices.add(search("p1"))
        prices.add(search("p2", "p1"))
    blocked, caps = prices.prices()
    second, third = 1 / log2(3), 1 / log2(4)
    # Of the first query the only relevant product goes; of the other it moves from place 2 to 1.
    assert blocked.alone.mean == pytest.approx((-1.0 + (1 - second)) / 2)
    assert (blocked.removed, blocked.moved, blocked.queries) == (6, 0, 6)
    # The caps move p2 behind p3, which nobody judged.
    assert caps.alone.mean == pytest.approx((third - second) / 2)
    assert caps.judged_only.mean == 0.0
    # Behind the block there is one product of the brand, and nothing to cap.
    assert (caps.removed, caps.moved, caps.queries, caps.beside.mean) == (0, 0, 0, 0.0)
    without, together, _ = prices.together()
    assert without.mean == pytest.approx((1 + second) / 2)
    assert together.mean == pytest.approx(blocked.alone.mean)
    said = prices.to_json()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert list(said["rules"]) == ["blocked", "caps"]
    console = Console(width=200, record=True, file=StringIO())
    console.print(prices.table())
    text = console.export_text()
    assert f"{blocked.alone.mean:+.4f}" in text
    assert "all rules" in text
