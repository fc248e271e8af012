"""Candidates that a caller brings, and what a receipt says."""

from __future__ import annotations

from gen_rerank.search.candidates import Given, Receipt

from .conftest import products


def test_given_candidates_come_in_their_order_whatever_the_query_is() -> None:
    given = Given(product for product in products(a="Oak desk", b="Lamp", c="Sofa"))
    for _ in range(2):  # what came as an iterator is kept
        found = given.candidates("\0", 2)
        assert [(one.product.product_id, one.ranks) for one in found] == [("a", {"given": 1}), ("b", {"given": 2})]


def test_a_receipt_is_three_words_of_json() -> None:
    assert Receipt("a", "deleted", "why").to_json() == {"product_id": "a", "rule": "deleted", "why": "why"}
