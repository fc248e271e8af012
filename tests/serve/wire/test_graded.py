from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_rerank import Distribution
from serve.wire.graded import are_tiers, choice_confidence, meaning, score_confidence, tier_shares, yes

HALVES = Distribution((np.eye(11)[[4]] + np.eye(11)[[8]]) / 2)
WEIGHTS = arrays(np.float64, st.integers(2, 10), elements=st.floats(0, 1)).filter(lambda row: row.sum() > 1e-3)


def test_a_yes_by_hand() -> None:
    assert yes(Distribution(np.eye(11)[[4, 5, 7, 8, 10]]), "close") == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert yes(Distribution(np.eye(11)[[4, 5, 7, 8, 10]]), "exact") == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert yes(HALVES, "exact") == yes(HALVES, "close") == [0.5]


@pytest.mark.parametrize(
    ("threshold", "name", "means"),
    [
        (None, None, "close"),
        (None, "exact", "exact"),
        (None, " Exact", "exact"),
        # Clients also name questions by the ids of their documents.
        (None, "exact-fit-case-12", "close"),
        ("exact", "any", "exact"),
        ("close", "exact", "close"),
    ],
)
def test_what_a_yes_means(threshold: str | None, name: str | None, means: str) -> None:
    assert meaning(threshold, name) == means  # type: ignore[arg-type]


def test_tiers_by_hand() -> None:
    assert tier_shares(HALVES) == [{"exact": 0.5, "close": 0.0, "irrelevant": 0.5}]
    assert tier_shares(Distribution(np.eye(11)[[5]])) == [{"exact": 0.0, "close": 1.0, "irrelevant": 0.0}]


@given(arrays(np.float64, 11, elements=st.floats(0, 1)).filter(lambda row: row.sum() > 1e-3))
def test_tiers_agree_with_yes(weights: np.ndarray) -> None:
    scored = Distribution((weights / weights.sum())[None])
    (shares,) = tier_shares(scored)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
    assert min(shares.values()) >= 0
    assert shares["exact"] == yes(scored, "exact")[0]
    assert shares["exact"] + shares["close"] == pytest.approx(yes(scored, "close")[0], abs=1e-6)


@pytest.mark.parametrize(
    ("values", "answered"),
    [
        (["exact", "close", "irrelevant"], True),
        (["irrelevant", "exact", "close"], True),
        (["exact", "irrelevant"], False),
        (["exact", "close", "irrelevant", "other"], False),
        (["Exact", "close", "irrelevant"], False),
        ([True, False], False),
    ],
)
def test_which_choices_are_answered(values: list[str | bool], answered: bool) -> None:
    assert are_tiers(values) == answered


@pytest.mark.parametrize(
    ("shares", "confidence"),
    [
        ([0, 1, 0], 1),
        ([0.5, 0, 0.5], 0),  # far apart
        ([0.5, 0.5, 0], 0.25),  # side by side
        ([0, 0.8, 0.2], 0.7),
        ([0.25, 0.75], 0.5),
        ([1 / 3, 1 / 3, 1 / 3], 0),
    ],
)
def test_confidence_of_a_score_by_hand(shares: list[float], confidence: float) -> None:
    assert score_confidence(shares) == pytest.approx(confidence)


def test_confidence_of_a_choice_by_hand() -> None:
    assert choice_confidence([0.0, 1.0, 0.0]) == pytest.approx(1)
    assert choice_confidence([0.2, 0.6, 0.2]) == pytest.approx(0.4)


@given(WEIGHTS)
def test_confidences_are_shares(weights: np.ndarray) -> None:
    shares = (weights / weights.sum()).tolist()
    assert 0 <= score_confidence(shares) <= 1
    assert 0 <= choice_confidence(shares) <= 1
    if len(shares) == 2:
        assert score_confidence(shares) == pytest.approx(choice_confidence(shares), abs=1e-9)
