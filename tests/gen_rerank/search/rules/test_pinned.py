"""Pinned products that retrieval did not find are fetched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gen_rerank import ProductCandidate
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.pinned import pinned_candidates, pinned_ids
from tests.gen_rerank.search.conftest import products

RULES = Rules(pins=[{"queries": ["desk"], "ids": ["b", "a"]}, {"queries": ["desk", "lamp"], "ids": ["a", "c"]}])


def test_several_pins_of_one_query_follow_each_other_once() -> None:
    assert pinned_ids(RULES, "DESK") == ["b", "a", "c"]
    assert pinned_ids(RULES, "lamp") == ["a", "c"]
    assert pinned_ids(RULES, "desks") == []


def test_only_what_was_not_found_is_fetched() -> None:
    asked = []
    stockroom: Any = SimpleNamespace(products=lambda ids: asked.append(ids) or products(b="B", c="C"))
    found = [ProductCandidate(product) for product in products(a="A")]
    extra = pinned_candidates(RULES, "desk", found, stockroom)
    assert asked == [["b", "c"]]
    assert [(one.product.product_id, one.ranks) for one in extra] == [("b", {"pinned": 1}), ("c", {"pinned": 2})]
    assert pinned_candidates(RULES, "sofa", found, stockroom) == pinned_candidates(RULES, "desk", found, None) == []
