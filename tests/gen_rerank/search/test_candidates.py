"""Candidates that a caller brings, and what a receipt says."""

from __future__ import annotations

from gen_rerank.search.candidates import Given, Receipt

from .conftest import products


def test_given_candidates_come_in_their_order_whatever_the_query_is() -> None:
    given = Given(product for product in products(a="Oak desk", b="Lamp", c="Sofa"))
    for _ in range(2):  # what came as an iterator is kept
        found = given.candidates("\0", 2)
        assert [(one.product.product_id, one.ranks) for one in found] == [("a", {"given": 1}), ("b", {"given": 2})]


def test_a_receipt_as_an_answer_has_it() -> None:
    (product,) = products(a="Oak\n desk")
    assert Receipt.of(product, "caps", "too many", 3, 11).to_json() == {
        "product_id": "a",
        "title": "Oak desk",
        "rule": "caps",
        "why": "too many",
        "before": 3,
        "after": 11,
    }
