"""Where a tier begins: in float32, at its threshold, the same for serving and comparing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput, Distribution
from gen_rerank.calibration.tiers import (
    TIERS,
    as_tier,
    at_least,
    best_in_tier,
    has_tiers,
    no_good_match,
    tier_places,
    tiers,
)

THRESHOLDS = {"exact": 0.9, "close": 0.5}
BY_HAND = {"exact": 0.8, "close": 0.5}


@pytest.mark.parametrize("k", range(11))
def test_a_score_that_is_printed_like_its_threshold_reaches_it(k: int) -> None:
    score = Distribution(np.eye(11)[[k]]).mean
    assert at_least(score, k / 10).tolist() == [True]
    assert at_least(score, k / 10 + 1e-3).tolist() == [False]


def test_a_tier_begins_at_its_threshold() -> None:
    scores = Distribution(np.eye(11)[[10, 9, 8, 5, 4, 0]]).mean
    expected = ["exact", "exact", "close", "close", "irrelevant", "irrelevant"]
    assert tiers(scores, THRESHOLDS) == expected
    # The same scores widened to float64 are what comparisons compute with.
    assert tiers(scores.astype(np.float64), THRESHOLDS) == expected
    assert [TIERS[place] for place in tier_places(scores, THRESHOLDS)] == expected


def test_without_both_thresholds_there_are_no_tiers() -> None:
    assert tiers([0.9, 0.1], {"exact": 0.5}) == [None, None]
    assert not has_tiers({"close": 0.5})
    assert tiers([], THRESHOLDS) == []


@given(st.lists(st.floats(0, 1, width=32), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_tier_is_the_first_threshold_that_is_reached(scores: list[float], a: float, b: float) -> None:
    thresholds = {"exact": max(a, b), "close": min(a, b)}
    for score, found in zip(scores, tiers(scores, thresholds), strict=True):
        reached = [name for name in ("exact", "close") if np.float32(score) >= np.float32(thresholds[name])]
        assert found == (reached or ["irrelevant"])[0]


def test_a_query_without_a_good_match() -> None:
    assert no_good_match([0.8, 0.1], BY_HAND) is False
    assert no_good_match([0.5], BY_HAND) is False, "what equals the threshold reaches it"
    assert no_good_match([0.49, 0.1], BY_HAND) is True
    assert no_good_match([], BY_HAND) is True
    assert no_good_match([0.8], {"exact": 0.8}) is None


def test_a_least_tier_takes_the_better_ones_too() -> None:
    scores = [0.5, 0.9, 0.1, 0.5]
    assert best_in_tier(scores, BY_HAND, "exact") == [1]
    assert best_in_tier(scores, BY_HAND, "close") == [1, 0, 3]
    assert best_in_tier(scores, BY_HAND, "irrelevant") == best_in_tier(scores, {}, None) == [1, 0, 3, 2]


def test_a_tier_is_named_and_there() -> None:
    assert as_tier("close", BY_HAND) == "close"
    with pytest.raises(BadInput, match="min_tier is 'good'; tiers are exact, close, irrelevant"):
        as_tier("good", BY_HAND)
    with pytest.raises(BadInput, match="min_tier=close: this model has no tiers"):
        as_tier("close", {})
