"""Soft rules on a ranked list: what goes, what moves, and the places in its receipt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gen_rerank import Product
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.asked import Asked
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.outcome import Outcome
from gen_rerank.search.rules.soft import soft_rules

TIERS: Any = {True: "close", False: "irrelevant"}


def ranked(*brands: str, scored: bool = True) -> list[Hit]:
    """Hits p1, p2 … with the scores 1.0, 0.9 …, whose tiers end at 0.5."""
    rows = []
    for place, brand in enumerate(brands):
        product = Product(product_id=f"p{place + 1}", title="Thing", brand=brand)
        row = tuple(np.eye(11)[10 - place].tolist())
        rows.append(Hit(product, {}, 1 - place / 10, 0.0, TIERS[place < 6], row) if scored else Hit(product, {}))
    return rows


def under(rules: dict[str, Any], hits: list[Hit], vectors: Any = None, query: str = "desk") -> Outcome[Hit]:
    return soft_rules(Rules(**rules), Asked(query), hits, lambda ids: vectors)


def ids(outcome: Outcome[Hit]) -> str:
    return " ".join(hit.product.product_id.removeprefix("p") for hit in outcome.kept)


def moves(outcome: Outcome[Hit]) -> list[tuple[str, str, int, int | None]]:
    return [(one.product_id, one.rule, one.before, one.after) for one in outcome.receipts]


def test_caps_move_what_is_too_much_behind_the_first_places() -> None:
    done = under({"caps": {"most": {"brand": 2}, "first": 4}}, ranked(*"AAAABC"))
    assert ids(done) == "1 2 5 6 3 4"
    assert moves(done) == [("p3", "caps", 3, 5), ("p4", "caps", 4, 6)]  # p5 and p6 only took the places
    assert done.receipts[0].why == "2 of the brand A are among the first 4 before it"


def test_caps_fill_up_where_there_is_nothing_else_and_unknown_counts_for_nothing() -> None:
    assert ids(under({"caps": {"most": {"brand": 1}, "first": 3}}, ranked(*"AAA"))) == "1 2 3"
    assert ids(under({"caps": {"most": {"seller": 1}}}, ranked(*"AAB"))) == "1 2 3"


def test_what_is_below_the_least_tier_goes() -> None:
    done = under({"min_tier": "close"}, ranked(*"ABCDEFGH"))
    assert ids(done) == "1 2 3 4 5 6"
    assert moves(done) == [("p7", "min_tier", 7, None), ("p8", "min_tier", 8, None)]
    assert done.receipts[0].why == "is irrelevant with a score of 0.400; close or better is shown"


def test_the_least_tier_is_given_up_where_that_is_wanted() -> None:
    rules = {"min_tier": "close", "too_little": {"products": 7, "give_up": ["min_tier"]}}
    done = under(rules, ranked(*"ABCDEFGH"))
    assert (len(done.kept), done.receipts) == (8, ())
    assert done.remarks == ("the rule min_tier was given up: it left 6 products, and 7 are wanted",)


def test_pins_stand_first_above_the_least_tier_and_the_caps() -> None:
    rules = {
        "min_tier": "close",
        "caps": {"most": {"brand": 1}},
        "pins": [{"queries": ["a desk", "DESK!"], "ids": ["p8", "p3", "p99"]}],
    }
    done = under(rules, ranked("A", "B", "A", "A", "A", "A", "A", "A"))
    assert ids(done) == "8 3 2 1 4 5 6"
    assert moves(done)[:3] == [("p7", "min_tier", 7, None), ("p8", "pins", 7, 1), ("p3", "pins", 3, 2)]
    assert done.remarks == ("pinned, but not shown: p99",)
    assert under(rules, ranked(*"AB"), query="desks").remarks == ()


def test_boosts_say_whom_they_did_not_pass() -> None:
    done = under({"boosts": [{"brands": ["B"], "by": 0.5}]}, ranked(*"AB"))
    assert (ids(done), done.receipts) == ("1 2", ())  # p1 is better beyond doubt: nothing moved
    told = under({"boosts": [{"brands": ["B"], "by": 0.5, "beyond_doubt": True}]}, ranked(*"AAB"))
    assert moves(told) == [("p3", "boosts", 3, 1)]
    assert told.receipts[0].why == "brand B counts +0.5"


def test_without_a_model_what_needs_scores_is_said_and_the_rest_works() -> None:
    rules = {"min_tier": "close", "boosts": [{"brands": ["B"], "by": 0.5}], "caps": {"most": {"brand": 1}, "first": 2}}
    done = under(rules, ranked(*"AAB", scored=False))
    assert ids(done) == "1 3 2"
    assert done.remarks == (
        "min_tier needs a model with tiers; without one it is not applied",
        "boosts are bounded by a model's scores; without a model they are not applied",
    )


@pytest.mark.parametrize("scored", [True, False])
def test_diversity_by_fields_or_vectors(scored: bool) -> None:
    rule = {"strength": 0.6, "first": 2}
    done = under({"diversity": rule}, ranked(*"AAB", scored=scored))
    assert ids(done) == "1 3 2"
    assert moves(done) == [("p3", "diversity", 3, 2), ("p2", "diversity", 2, 3)]
    vectors = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert ids(under({"diversity": rule}, ranked(*"AAB", scored=scored), vectors)) == "1 2 3"
    assert ids(under({"diversity": {**rule, "on": "fields"}}, ranked(*"AAB", scored=scored), vectors)) == "1 3 2"
    missing = under({"diversity": {**rule, "on": "vectors"}}, ranked(*"AAB", scored=scored))
    assert missing.remarks == ("the index has no vectors for diversity; fields were taken",)


def test_nothing_left_is_no_error_and_two_runs_are_alike() -> None:
    rules = {
        "min_tier": "exact", "boosts": [{"brands": ["A"], "by": 0.1}], "diversity": {}, "caps": {"most": {"brand": 1}},
        "pins": [{"queries": ["desk"], "ids": ["p1"]}],
    }  # fmt: skip
    assert under(rules, []).kept == ()
    assert ids(under(rules, ranked(*"AAAB"))) == "1"
    rules["min_tier"] = "close"
    once, again = (under(rules, ranked(*"AABBAC")) for _ in range(2))
    assert (ids(once), once.receipts) == (ids(again), again.receipts)
    assert once.receipts
