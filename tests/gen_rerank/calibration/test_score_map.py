"""The map of scores: what isotonic regression gives is met, order stays, and what comes out is a distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.calibration.logits import distribution_of
from gen_rerank.calibration.score_map import fit_score_map, fit_venn_abers_map, tilted
from gen_rerank.checkpoints.card import Calibration, Card, Readout, ScoreMap
from gen_rerank.prompting.prompt import PromptSpec

LOW = ScoreMap(scores=(0.0, 0.5, 1.0), relevances=(0.0, 0.1, 1.0))


def card(score_map: ScoreMap | None, temperature: float = 1.0, readout: Readout | None = None) -> Card:
    calibration = Calibration(temperature=temperature, score_map=score_map)
    return Card(readout=readout or Readout.classifier(), prompt=PromptSpec(), calibration=calibration)


def test_two_bins_are_tilted_to_the_mean_by_hand() -> None:
    found = tilted(np.zeros((1, 2)), np.array([0.0, 1.0]), np.array([0.25]))
    assert found.tolist() == [pytest.approx([0.75, 0.25])]


def test_where_the_mean_stays_so_does_the_distribution() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 11)) * 3
    plain = Distribution.from_logits(logits)
    found = tilted(logits, BIN_VALUES, plain.probabilities.astype(float) @ BIN_VALUES)
    assert np.abs(found - plain.probabilities).max() < 1e-6


def test_a_tilt_is_exponential_in_the_bins() -> None:
    """The logarithms of the weights change by a straight line."""
    logits = np.random.default_rng(1).normal(size=(1, 11))
    change = np.log(tilted(logits, BIN_VALUES, np.array([0.8]))[0]) - logits[0]
    assert np.diff(change) == pytest.approx(np.full(10, np.diff(change)[0]))


@given(
    st.lists(st.lists(st.floats(-40, 40), min_size=11, max_size=11), min_size=1, max_size=8),
    st.floats(1e-6, 1 - 1e-6),
)
def test_any_mean_is_reached(logits: list[list[float]], mean: float) -> None:
    found = tilted(np.array(logits), BIN_VALUES, np.full(len(logits), mean))
    assert found @ BIN_VALUES == pytest.approx(np.full(len(logits), mean), abs=1e-7)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(logits)))
    assert (found >= 0).all()


def test_the_card_applies_temperature_and_then_the_map() -> None:
    logits = np.random.default_rng(2).normal(size=(400, 11)) * 4
    plain = distribution_of(logits, card(None, 2.0)).mean
    found = distribution_of(logits, card(LOW, 2.0)).mean
    assert found == pytest.approx(np.interp(plain, LOW.scores, LOW.relevances), abs=1e-5)


def test_a_yes_no_readout_is_mapped_too() -> None:
    readout = Readout(kind="yes_no", tokens=("no", "yes"), token_ids=(3, 4), values=(0.0, 1.0))
    found = distribution_of([[0.0, 0.0]], card(LOW, readout=readout))
    assert found.mean[0] == pytest.approx(0.1)
    assert found.probabilities[0, 1:10].sum() == 0


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_the_map_keeps_the_order(seed: int, pairs: int) -> None:
    """Strictly, where means differ by more than float32 can lose: flat stretches of isotonic regression are none."""
    rng = np.random.default_rng(seed)
    relevance = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0], size=pairs)
    fitted = fit_score_map(rng.random(pairs), relevance, np.ones(pairs))
    logits = rng.normal(size=(60, 11)) * rng.uniform(0.1, 8)
    before, after = distribution_of(logits, card(None)).mean, distribution_of(logits, card(fitted)).mean
    order = np.argsort(before, kind="stable")
    apart = np.diff(before[order].astype(float)) > 1e-5
    assert (np.diff(after[order].astype(float))[apart] > 0).all()


def test_isotonic_regression_by_hand() -> None:
    """Scores 0.1, 0.2 | 0.6, 0.8 with relevances 0.4, 0.2 | 0.5, 0.9: the first two are one block, at 0.15 and 0.3."""
    found = fit_score_map([0.1, 0.2, 0.6, 0.8], [0.4, 0.2, 0.5, 0.9], [1, 1, 1, 1])
    assert found.scores == pytest.approx((0.0, 0.15, 0.6, 0.8, 1.0))
    wanted = np.array([0.3, 0.3, 0.5, 0.9, 0.9])
    assert found.relevances == pytest.approx(0.95 * wanted + 0.05 * np.array(found.scores))


def test_all_scores_alike_move_to_the_mean_relevance() -> None:
    found = fit_score_map([0.5] * 4, [0.0, 0.0, 0.0, 1.0], [1.0] * 4)
    assert np.interp(0.5, found.scores, found.relevances) == pytest.approx(0.95 * 0.25 + 0.05 * 0.5)


@pytest.mark.parametrize("relevance", [0.0, 1.0])
def test_one_relevance_alone_is_no_flat_map(relevance: float) -> None:
    found = fit_score_map([0.0, 0.3, 1.0], [relevance] * 3, [1.0] * 3)
    assert (np.diff(found.relevances) > 0).all()


@pytest.mark.parametrize(
    ("scores", "relevances"),
    [
        ((0.0, 1.0), (0.5, 0.5)),
        ((0.0, 0.5, 0.5, 1.0), (0.0, 0.1, 0.2, 0.3)),
        ((0.1, 1.0), (0.0, 1.0)),
        ((0.0, 1.0), (0.0, 1.5)),
        ((0.0, 1.0), (0.0, float("nan"))),
        ((0.0, 0.5, 1.0), (0.0, 1.0)),
        ((), ()),
    ],
)
def test_what_is_no_map_does_not_stand_in_a_card(scores: tuple[float, ...], relevances: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        ScoreMap(scores=scores, relevances=relevances)


def test_venn_abers_asks_what_one_pair_more_would_say():
    """At 0.2 the added pair makes it 0 or (0 + 1) / 2, so 0.5 / (1 - 0 + 0.5) = 1/3; at 0.8 the same from above."""
    found = fit_venn_abers_map([0.2, 0.8], [0.0, 1.0], [1.0, 1.0])
    inner = [(value - 0.05 * score) / 0.95 for score, value in zip(found.scores, found.relevances, strict=True)]
    assert found.scores == (0.0, 0.2, 0.8, 1.0)
    assert inner == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_venn_abers_does_not_believe_ten_pairs_that_none_is_ever_relevant():
    scores, relevance = np.linspace(0.1, 0.4, 10), np.zeros(10)
    believed = fit_score_map(scores, relevance, np.ones(10))
    drawn = fit_venn_abers_map(scores, relevance, np.ones(10))
    assert max(believed.relevances[:-1]) < 0.05
    assert min(drawn.relevances) > 0.05


def test_venn_abers_is_isotonic_regression_where_pairs_are_many():
    rng = np.random.default_rng(0)
    scores = rng.random(4000)
    relevance = np.clip(scores**2 + rng.normal(0, 0.1, 4000), 0, 1)
    grid = np.linspace(0.1, 0.9, 50)
    maps = [fit(scores, relevance, np.ones(4000)) for fit in (fit_score_map, fit_venn_abers_map)]
    isotonic, drawn = (np.interp(grid, found.scores, found.relevances) for found in maps)
    assert np.abs(isotonic - drawn).max() < 0.03


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=12),
)
def test_venn_abers_keeps_the_order(pairs):
    scores, relevance, weights = zip(*pairs, strict=True)
    found = fit_venn_abers_map(scores, relevance, weights)
    assert (np.diff(found.relevances) > 0).all()
