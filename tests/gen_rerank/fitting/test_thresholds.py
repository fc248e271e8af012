"""Thresholds that keep a promise, and those that only come nearest, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.calibration.promises import Promise, TierLosses
from gen_rerank.errors import BadInput
from gen_rerank.fitting.thresholds import TierChoice, all_promises, choose_thresholds

USUAL = all_promises([])


def choose(count: int, scores: list[float], relevance: list[float], promises=USUAL) -> dict[str, TierChoice]:
    """So many queries, each with these products."""
    queries = np.repeat(np.arange(count), len(scores))
    return choose_thresholds(np.tile(scores, count), np.tile(relevance, count), queries, promises)


def test_45_clean_queries_promise_and_44_do_not() -> None:
    """Good products score 0.9, bad ones 0.3: as exact counts what is above 0.3, so the loosest threshold is 0.301."""
    found = choose(45, [0.9, 0.3], [1.0, 0.0])["exact"]
    assert (found.kept, found.threshold, found.queries, found.observed) == (True, 0.301, 45, 0.0)
    assert found.bound == pytest.approx(1 - 0.1 ** (1 / 45))
    assert found.reason == ""
    few = choose(44, [0.9, 0.3], [1.0, 0.0])["exact"]
    assert (few.kept, few.threshold) == (False, 0.301), "the nearest one is written all the same"
    assert few.reason == (
        "44 queries with 0.0% wrong at this threshold prove at most 5.1%; at best, where 0.0% is wrong, so many "
        "queries allow 5.1%, and about 45 would do"
    )


def test_22_queries_promise_that_a_tenth_is_missed_at_most() -> None:
    assert choose(22, [0.9, 0.3], [1.0, 0.0])["close"].kept
    assert not choose(21, [0.9, 0.3], [1.0, 0.0])["close"].kept
    assert choose(22, [0.9, 0.3], [1.0, 0.0])["close"].threshold == 0.301, "never above exact"


def test_the_nearest_threshold_is_the_loosest_with_no_more_lost_than_asked() -> None:
    """Of 20 queries one has a wrong product at 0.8, the others at 0.4: 1 of 20 is 5%, which is not more than asked."""
    queries = np.repeat(np.arange(20), 1)
    scores = np.where(np.arange(20) == 0, 0.8, 0.4)
    found = choose_thresholds(scores, np.zeros(20), queries, USUAL)["exact"]
    assert (found.kept, found.threshold, found.observed) == (False, 0.401, 0.05)
    assert "no threshold that shows a product has less than 5.0% wrong, so more queries do not help" in found.reason


def test_no_relevant_product_at_all() -> None:
    found = choose(60, [0.9, 0.3], [0.1, 0.0])
    assert (found["close"].threshold, found["close"].kept, found["close"].queries) == (0.5, False, 0)
    assert found["close"].reason == "no query has a product with a relevance of 0.5 or more"
    assert not found["exact"].kept, "a threshold that shows nothing is no promise"
    assert found["exact"].observed == 1.0


def test_all_scores_equal_cannot_be_parted() -> None:
    found = choose(100, [0.5, 0.5], [1.0, 0.0])
    assert not found["exact"].kept
    assert found["exact"].threshold == 0.5
    assert (found["close"].kept, found["close"].threshold) == (False, 0.5)


def test_all_scores_at_the_top_cannot_be_parted_either() -> None:
    found = choose(100, [1.0, 1.0], [1.0, 0.0])
    assert (found["close"].threshold, found["close"].reason) == (0.5, "no threshold leaves a product out")
    assert not found["close"].kept


def test_one_query_promises_nothing_and_has_thresholds() -> None:
    found = choose(1, [0.9, 0.6, 0.3], [1.0, 0.5, 0.0])
    assert not any(one.kept for one in found.values())
    assert 1 >= found["exact"].threshold >= found["close"].threshold >= 0


def test_where_exact_would_begin_below_close_close_moves_down() -> None:
    """Half may be wrong as exact, so it begins at 0; close keeps its promise all the more."""
    promises = all_promises(["exact: wrong <= 60%"])
    found = choose(100, [0.9, 0.3], [1.0, 0.0], promises)
    assert found["exact"].threshold == found["close"].threshold == 0.0
    assert (found["close"].kept, found["close"].observed) == (True, 0.0)


def test_a_close_tier_that_may_not_move_moves_exact_up() -> None:
    promises = all_promises(["exact: wrong <= 60%", "close: wrong <= 5%"])
    found = choose(100, [0.9, 0.3], [1.0, 0.0], promises)
    assert found["exact"].threshold == found["close"].threshold == 0.301
    assert found["exact"].kept
    moved = choose(100, [0.9, 0.3, 0.3], [1.0, 0.0, 0.0], all_promises(["exact: missed <= 5%", "close: wrong <= 5%"]))
    assert moved["exact"].threshold == 0.9, "misses nothing up to the score of the good ones"


def test_what_is_not_promised_stays_usual_and_one_tier_has_one_promise() -> None:
    assert all_promises(["close: wrong <= 20%"])["exact"] == Promise("exact", "wrong", 0.05)
    with pytest.raises(BadInput, match="two promises are about exact"):
        all_promises(["exact: wrong <= 5%", "exact: missed <= 5%"])


@given(st.integers(0, 1000), st.integers(1, 120))
def test_tiers_are_in_order_and_the_figures_are_those_at_the_threshold(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    queries = np.repeat(np.arange(count), 4)
    scores, relevance = rng.random(count * 4), rng.choice([0.0, 0.5, 1.0], size=count * 4)
    found = choose_thresholds(scores, relevance, queries, USUAL)
    assert found["exact"].threshold >= found["close"].threshold
    for tier, one in found.items():
        at = TierLosses.of(tier, scores, relevance, queries, [one.threshold]).by_query(one.promise.loss)
        if one.observed is not None:
            assert one.observed == pytest.approx(at.mean())
        assert one.kept == (not one.reason)
        if one.kept:
            assert one.bound is not None
            assert one.bound <= one.promise.limit + 1e-9
