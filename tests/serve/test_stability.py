"""Scores that have moved since the calibration: the index, and the metrics that say it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gen_rerank import Distribution
from gen_rerank.calibration.stability import score_histogram, stability_index
from gen_rerank.checkpoints.card import ScoreHistogram
from serve.stability import LEAST_PAIRS, WINDOW, RecentScores
from serve.telemetry import RequestRecord, Telemetry


def sure(*bins: int) -> Distribution:
    return Distribution(np.eye(11)[list(bins)])


def of(seed: int, pairs: int, concentration: float = 1.0) -> Distribution:
    return Distribution(np.random.default_rng(seed).dirichlet(np.full(11, concentration), pairs))


def test_a_thousand_pairs_are_needed() -> None:
    recent = RecentScores(score_histogram(sure(5)))
    recent.add(sure(*[5] * (LEAST_PAIRS - 1)))
    assert recent.stability is None
    recent.add(sure(5, 5))
    assert recent.stability is not None


def test_the_same_population_is_stable_and_another_one_is_not() -> None:
    reference = score_histogram(of(0, 5000))
    same, other = RecentScores(reference), RecentScores(reference)
    same.add(of(1, 5000))
    other.add(of(1, 5000, 0.1))
    assert same.stability is not None
    assert other.stability is not None
    assert max(same.stability.scores, same.stability.stds) < 0.05
    assert other.stability.scores > 0.25
    assert other.stability.stds > 0.25


def test_what_is_older_fades() -> None:
    """After two windows of other answers e⁻², an eighth or so of the say, is left to the first ones."""
    reference = score_histogram(sure(*[9] * 1000))
    recent = RecentScores(reference)
    recent.add(sure(*[1] * WINDOW))
    for _ in range(2 * WINDOW // 100):
        recent.add(sure(*[9] * 100))
    assert recent.stability is not None
    share = math.exp(-2)
    first, later = (WINDOW * np.array(score_histogram(sure(place)).scores) for place in (1, 9))
    wanted = stability_index(reference.scores, share * first + (1 - share) * later)
    assert recent.stability.scores == pytest.approx(wanted, rel=0.02)


def test_metrics_say_it_by_model_and_begin_anew_with_another_version() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(None, registry=registry)
    old, new = score_histogram(sure(*[5] * 2000)), score_histogram(sure(*[9] * 2000))

    def told(model: str, pairs: int, histogram: ScoreHistogram | None) -> list[float | None]:
        scored = sure(*[5] * pairs)
        telemetry.finished(
            RequestRecord("id", "/v1/rerank", "POST", status=200, model=model, scored=scored, histogram=histogram)
        )
        names = ("gen_rerank_score_psi", "gen_rerank_score_std_psi")
        return [registry.get_sample_value(name, {"model": model}) for name in names]

    def unknown(values: list[float | None]) -> bool:
        return all(value is not None and math.isnan(value) for value in values)

    assert told("plain", 2000, None) == [None, None]
    assert unknown(told("shop", 500, old))
    assert told("shop", 1500, old) == pytest.approx([0.0, 0.0], abs=0.01)
    assert unknown(told("shop", 500, new)), "another version: nothing is known of it yet"
    scores, stds = told("shop", 1500, new)
    assert scores is not None
    assert scores > 5
    assert stds == pytest.approx(0.0, abs=0.01)
    assert unknown(told("shop", 500, None)), "an uncalibrated one took its place"
    telemetry.close()
