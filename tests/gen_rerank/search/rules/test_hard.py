"""Hard rules: who goes, in which order, with which receipt; unknown counts against showing."""

from __future__ import annotations

from typing import Any

import pytest

from gen_rerank import Product, ProductCandidate
from gen_rerank.search.rules.asked import Asked, Customer, Filters
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.hard import hard_rules, hard_rules_or_fewer


def candidates(*rows: dict[str, Any]) -> list[ProductCandidate]:
    """Products p1, p2 … in the order in which they were found."""
    filled = ({"title": "Thing", **row, "product_id": f"p{place}"} for place, row in enumerate(rows, start=1))
    return [ProductCandidate(Product(**row)) for row in filled]


def removed(rules: dict[str, Any], *rows: dict[str, Any], **asked: Any) -> dict[str, str]:
    done = hard_rules(Rules(**rules), Asked("thing", **asked), candidates(*rows))
    assert all(receipt.after is None for receipt in done.receipts)
    assert len(done.kept) + len(done.receipts) == len(rows)
    return {receipt.product_id: receipt.why for receipt in done.receipts}


def test_what_is_sold_out_goes_and_strictly_what_nobody_knows() -> None:
    rows = ({"available": True}, {"available": False}, {})
    assert removed({"available": True}, *rows) == {"p2": "sold out"}
    assert removed({"available": "strict"}, *rows) == {
        "p2": "sold out",
        "p3": "it is not known whether it is for sale",
    }


def test_the_price_band_has_its_ends() -> None:
    rows = ({"price": 5}, {"price": 4.99}, {"price": 10}, {"price": 10.01}, {})
    assert removed({"price": {"min": 5, "max": 10}}, *rows) == {
        "p2": "costs 4.99, less than 5",
        "p4": "costs 10.01, more than 10",
    }
    assert removed({"price": {"unknown": "remove"}}, *rows) == {"p5": "it has no price"}


@pytest.mark.parametrize(("market", "gone"), [("de", True), ("DE", True), ("fr", False), (None, True)])
def test_blocked_in_a_market(market: str | None, gone: bool) -> None:
    rules = {"blocked": [{"brands": ["A"], "markets": ["DE"], "reason": "a court said so"}]}
    why = removed(rules, {"brand": "A"}, {"brand": "B"}, customer=Customer(market=market))
    assert set(why) == ({"p1"} if gone else set())
    if gone:
        unknown = ", and no market was named" if market is None else ""
        assert why["p1"] == f"brand A is blocked in de{unknown}: a court said so"


@pytest.mark.parametrize(
    ("rule", "customer", "why"),
    [
        ({"min_age": 18}, {"age": 18}, None),
        ({"min_age": 18}, {"age": 17}, "brand A is for customers from 18 on, not for the age of 17"),
        ({"min_age": 18}, {}, "brand A is for customers from 18 on, not for an unknown age"),
        ({"only_in": ["AT"]}, {"region": "at"}, None),
        ({"only_in": ["AT"]}, {"region": "Ie"}, "brand A may be sold in at only, not in Ie"),
        ({"only_in": ["AT"]}, {}, "brand A may be sold in at only, not in an unknown region"),
        ({"not_in": ["IE"]}, {"region": "at"}, None),
        ({"not_in": ["IE"]}, {"region": "ie"}, "brand A may not be sold in ie; the customer is in ie"),
        ({"not_in": ["IE"]}, {}, "brand A may not be sold in ie; the customer is in an unknown region"),
    ],
)
def test_compliance(rule: dict[str, Any], customer: dict[str, Any], why: str | None) -> None:
    rules = {"compliance": [{"brands": ["A"], **rule}]}
    found = removed(rules, {"brand": "A"}, {"brand": "B"}, customer=Customer(**customer))
    assert found == ({} if why is None else {"p1": why})


def test_variants_are_one_result_and_who_lacks_a_field_is_none() -> None:
    rows = ({"brand": "A", "title": "Desk"}, {"brand": "a", "title": "DESK"}, {"title": "Desk"}, {"title": "Desk"})
    assert removed({"variants": {"by": ["brand", "title"]}}, *rows) == {
        "p2": "a variant of p1, which was found before it: the same brand, title"
    }


def test_a_variant_that_may_not_be_shown_stands_for_nobody() -> None:
    rows = ({"available": False}, {}, {})
    rules = {"available": True, "variants": {"by": ["title"]}}
    assert list(removed(rules, *rows)) == ["p1", "p3"]


def test_one_receipt_a_product_of_the_first_rule_with_the_place_where_it_was_found() -> None:
    rows = candidates({}, {"available": False, "price": 1}, {"price": 1, "brand": "A"}, {"brand": "A"})
    rules = Rules(blocked=[{"brands": ["A"]}], price={"min": 5}, available=True)
    done = hard_rules(rules, Asked("thing"), rows)
    assert [(one.product_id, one.rule, one.before, one.after) for one in done.receipts] == [
        ("p2", "available", 2, None),
        ("p3", "price", 3, None),
        ("p4", "blocked", 4, None),
    ]
    assert hard_rules(rules, Asked("thing"), rows) == done


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"brands": ["a", "C"]}, ["p1"]),
        ({"categories": ["Home"]}, ["p2"]),
        ({"min_price": 6}, ["p2"]),
        ({"max_price": 6}, ["p1"]),
        ({"attributes": {"Colour": ["RED"]}}, ["p1"]),
        ({"available": True}, ["p2"]),
        ({}, ["p1", "p2", "p3"]),
    ],
)
def test_filters_of_the_shopper(filters: dict[str, Any], left: list[str]) -> None:
    rows = candidates(
        {"brand": "A", "price": 5, "attributes": {"colour": "red"}},
        {"category": "Home > Desks", "price": 7, "available": True},
        {},
    )
    done = hard_rules(Rules(), Asked("thing", filters=Filters(**filters)), rows)
    assert [one.product.product_id for one in done.kept] == left
    assert {receipt.rule for receipt in done.receipts} <= {"filter"}


def test_rules_are_given_up_in_the_shops_order_until_enough_is_left() -> None:
    rows = candidates({"price": 1, "brand": "A"}, {"price": 1}, {"price": 9, "brand": "A"}, {"available": False})
    given_up = {"products": 2, "give_up": ["query", "price", "variants"]}
    rules = Rules(available=True, price={"min": 5}, variants={"by": ["brand"]}, too_little=given_up)
    done = hard_rules_or_fewer(rules, Asked("thing"), rows)
    assert [one.product.product_id for one in done.kept] == ["p1", "p2"]  # p3 is a variant of p1 now
    assert done.remarks == ("the rule price was given up: it left 1 product, and 2 are wanted",)
    assert [(one.product_id, one.rule) for one in done.receipts] == [("p4", "available"), ("p3", "variants")]
    enough = hard_rules_or_fewer(rules.without("price"), Asked("thing"), rows)
    assert enough.remarks == ()


def test_nothing_in_nothing_out() -> None:
    assert hard_rules_or_fewer(Rules(available=True), Asked("x"), []).kept == ()
