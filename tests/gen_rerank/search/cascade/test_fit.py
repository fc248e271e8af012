"""Which bounds are promised, on readings whose losses one can write down."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank import Distribution
from gen_rerank.calibration.risk_control import p_value
from gen_rerank.checkpoints.card import Calibration, PromiseRecord
from gen_rerank.search.cascade.fit import STEPS, choose_bounds, lost_at_most, tier_promises
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from gen_rerank.search.cascade.reading import Bounds

SURE = np.eye(11)
BOUNDS = tuple(Bounds(low) for low in (0.0, 0.1, 0.5, 1.0))
TIERS = {"exact": 0.8, "close": 0.5}


def kept(*promises: str) -> Calibration:
    records = {one.split(":")[0]: PromiseRecord(promise=one, kept=True, confidence=0.9, queries=9) for one in promises}
    return Calibration(thresholds=TIERS, promises=records)


def losses(rows: list[float], queries: int, marks: np.ndarray | None = None) -> CascadeLosses:
    """Each query loses the same between the same bounds; it has one product."""
    lost = np.repeat(np.array(rows)[:, None], queries, axis=1)
    by_decoder = np.ones(lost.shape, dtype=bool) if marks is None else np.repeat(marks[:, None], queries, axis=1)
    return CascadeLosses(BOUNDS[: len(rows)], by_decoder, lost, np.full(lost.shape, 0.5))


def readings(queries: int, relevance: float = 0.0, encoder: int = 0, decoder: int = 0) -> TwoReadings:
    one = np.zeros(queries, dtype=int)
    return TwoReadings(
        np.full(queries, relevance),
        np.arange(queries),
        Distribution(SURE[one + encoder]),
        Distribution(SURE[one + decoder]),
    )


def choose(rows: list[float], queries: int, at_most: float = 0.005, **more):
    return choose_bounds(readings(queries), losses(rows, queries), 5, at_most, Calibration(thresholds=TIERS), **more)


def test_the_walk_ends_at_the_first_bounds_that_lose_too_much() -> None:
    found = choose([0.0, 0.0, 0.02, 0.0], 2000)
    assert (found.step, found.bounds, found.loss.kept, found.loss.reason) == (1, BOUNDS[1], True, "")
    assert found.loss.promise == "nDCG@5: lost <= 0.005"
    assert (found.loss.queries, found.loss.observed) == (2000, 0.0)
    assert 0 < found.loss.bound <= 0.005


def test_a_cascade_that_is_better_than_the_decoder_makes_up_for_a_loss() -> None:
    rows = losses([0.0, 0.0], 700)
    rows.lost[1, ::2], rows.lost[1, 1::2] = 0.02, -0.06
    found = choose_bounds(readings(700), rows, 5, 0.005, Calibration(thresholds=TIERS))
    assert (found.step, found.loss.observed) == (1, -0.02)


def test_too_few_queries_promise_nothing_and_it_is_said_how_many_would() -> None:
    found = choose([0.0, 0.001, 0.02, 0.1], 60)
    assert (found.step, found.loss.kept) == (1, False)
    assert "60 queries with 0.0010 lost between these bounds prove at most 0.0" in found.loss.reason
    assert "that lose like these would do" in found.loss.reason
    wider = choose([0.0, 0.001, 0.02, 0.1], 60, at_most=0.2)
    assert (wider.step, wider.loss.kept) == (3, True)


def test_a_doubt_keeps_the_bounds_and_takes_the_promise() -> None:
    found = choose([0.0, 0.0], 2000, doubt="they were trained on")
    assert (found.step, found.loss.kept, found.loss.reason) == (1, False, "they were trained on")


def test_queries_without_a_relevant_product_have_no_say() -> None:
    found = choose_bounds(readings(9), losses([np.nan, np.nan], 9), 5, 0.005, Calibration(thresholds=TIERS))
    assert (found.step, found.loss.queries, found.loss.observed) == (0, 0, None)
    assert found.loss.reason == "no query has a product with a relevance above 0"


def test_the_tiers_walk_along() -> None:
    """Unread, the encoder calls every bad product exact: from the second bounds on, the decoder reads none."""
    marks = np.array([True, False, False])
    two = readings(2000, relevance=0.0, encoder=9, decoder=1)
    calibration = kept("exact: wrong <= 5%", "close: missed <= 10%")
    found = choose_bounds(two, losses([0.0] * 3, 2000, marks), 5, 0.005, calibration)
    assert (found.step, found.loss.kept) == (0, True)
    assert found.tiers["exact"].kept
    assert found.tiers["exact"].observed == 0.0
    assert (found.tiers["close"].kept, found.tiers["close"].queries) == (False, 0), "nothing could be missed"


def test_a_tier_whose_promise_is_lost_anyhow_does_not_hold_the_bounds_back() -> None:
    two = readings(2000, relevance=0.0, encoder=9, decoder=9)
    found = choose_bounds(two, losses([0.0] * 3, 2000), 5, 0.005, kept("exact: wrong <= 5%"))
    assert (found.step, found.loss.kept) == (2, True)
    assert (found.tiers["exact"].kept, found.tiers["exact"].observed) == (False, 1.0)


def test_only_promises_that_a_card_keeps_are_asked_for() -> None:
    broken = PromiseRecord(promise="exact: wrong <= 5%", kept=False, confidence=0.9, queries=9)
    assert tier_promises(Calibration(thresholds=TIERS, promises={"exact": broken})) == {}
    assert tier_promises(Calibration(thresholds=TIERS)) == {}


def test_the_bound_is_where_the_test_turns() -> None:
    lost = np.random.default_rng(0).normal(0.0, 0.05, 800)
    bound = lost_at_most(lost)
    assert p_value((1 + lost) / 2, (1 + bound + 1e-6) / 2, 0.9) <= 0.1
    assert p_value((1 + lost) / 2, (1 + bound - 1e-6) / 2, 0.9) > 0.1


def test_a_promise_is_broken_in_one_draw_of_ten_at_most() -> None:
    """Losses of a large shop whose mean is just above the limit between the last bounds."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(100):
        lost = rng.choice([0.0, 0.3, -0.1], size=400, p=[0.7, 0.2, 0.1])  # 0.05 on average
        rows = losses([0.0, 0.0], 400)
        rows.lost[1] = lost
        found = choose_bounds(readings(400), rows, 5, 0.049, Calibration(thresholds=TIERS))
        broken += found.loss.kept and found.step == 1
    assert broken <= 100 * 0.1 + 2 * np.sqrt(100 * 0.09)


def test_the_walk_goes_from_reading_everything_to_reading_nothing() -> None:
    lows, highs = [one.low for one in STEPS], [one.high for one in STEPS]
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)
    assert len(set(zip(lows, highs, strict=True))) == len(STEPS)
    assert (STEPS[0], STEPS[-1]) == (Bounds(0.0, 1.0), Bounds(1.0, 0.0))
    with pytest.raises(AttributeError):
        STEPS[0].low = 0.5  # type: ignore[misc]
