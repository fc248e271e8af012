"""What a calibration becomes of logits whose faults are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gen_rerank import Dataset
from gen_rerank.calibration.logits import distribution_of
from gen_rerank.checkpoints.card import Calibration, Card, Readout
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import RPS
from gen_rerank.fitting.fit import fit_calibration
from gen_rerank.prompting.prompt import PromptSpec

BINS = Readout.classifier()
TWO = Readout(kind="yes_no", tokens=("no", "yes"), token_ids=(3, 4), values=(0.0, 1.0))


def test_what_is_calibrated_stays_as_it_is(made) -> None:
    found = fit_calibration(*made(120), BINS)
    assert found.choice.step == "as they were"
    assert (found.calibration.temperature, found.calibration.score_map) == (1.0, None)
    assert found.covered[1].mean > 0.8


def test_a_temperature_that_is_wrong_is_found(made) -> None:
    shop, logits = made(120, sharpness=4.0)
    found = fit_calibration(shop, logits, BINS)
    assert found.choice.step == "with a temperature"
    assert found.calibration.temperature == pytest.approx(4.0, rel=0.1)
    before, after, held = (one.calibrated[RPS].mean for one in found.evaluations)
    assert after < held < before
    assert found.covered[0].mean < 0.75 < 0.8 < found.covered[1].mean


def test_a_shift_takes_a_map_and_the_order_stays(made) -> None:
    shop, logits = made(150, shift=0.25)
    found = fit_calibration(shop, logits, BINS)
    assert found.choice.step == "with a temperature and a map"
    card = Card(readout=BINS, prompt=PromptSpec(), calibration=found.calibration)
    plain = card.model_copy(update={"calibration": found.calibration.model_copy(update={"score_map": None})})
    before, after = distribution_of(logits, plain).mean, distribution_of(logits, card).mean
    order = np.argsort(before)
    assert (np.diff(after[order].astype(float)) >= -1e-6).all()
    gold = np.array([row.relevance for row in shop.judgments])
    assert abs(after.mean() - gold.mean()) < 0.02 < abs(before.mean() - gold.mean())


def test_calibrating_again_changes_nothing(made) -> None:
    shop, logits = made(120, sharpness=4.0)
    once = fit_calibration(shop, logits, BINS).calibration
    again = fit_calibration(shop, logits, BINS, once)
    assert again.choice.step == "as they were"
    assert again.calibration == once


def test_promises_stand_in_the_card_and_hold_on_other_queries(made) -> None:
    shop, logits = made(300)
    found = fit_calibration(shop, logits, BINS, promises=["exact: wrong <= 20%", "close: missed <= 15%"])
    card = found.calibration
    assert {tier: one.kept for tier, one in card.promises.items()} == {"exact": True, "close": True}
    assert card.promises["exact"].queries == 300
    assert card.promises["close"].queries <= 300, "those that have a relevant product"
    assert card.source is not None
    assert (card.source.queries, card.source.pairs, card.source.split) == (300, 2400, "validation")
    assert found.held_out is not None
    others, their_logits = made(300, seed=1)
    fresh = fit_calibration(others, their_logits, BINS, by_hand=card.thresholds)
    assert fresh.figures["exact"].wrong.mean() <= 0.2
    assert np.nanmean(fresh.figures["close"].missed) <= 0.15
    assert (fresh.calibration.thresholds, fresh.calibration.promises) == (card.thresholds, {})


def test_held_out_figures_are_of_each_query_in_its_order(made) -> None:
    """With thresholds by hand and no step taken, a held-out query reads as it does in the fit."""
    found = fit_calibration(*made(40), BINS, by_hand={"exact": 0.8, "close": 0.4})
    assert found.choice.step == "as they were"
    assert found.held_out is not None
    for tier, one in found.figures.items():
        assert np.array_equal(one.wrong, found.held_out[tier].wrong)
        assert np.array_equal(one.shown, found.held_out[tier].shown)
        assert np.array_equal(one.missed, found.held_out[tier].missed, equal_nan=True)


def test_a_yes_no_readout(made) -> None:
    shop, logits = made(150)
    scores = np.exp(logits) @ np.linspace(0, 1, 11) / np.exp(logits).sum(axis=1)
    two = np.stack([np.zeros(len(scores)), 6 * (scores - 0.5)], axis=1)
    found = fit_calibration(shop, two, TWO)
    assert found.after.probabilities[:, 1:10].sum() == 0
    json.dumps(found.to_json(), allow_nan=False)


def test_one_query(made) -> None:
    found = fit_calibration(*made(1), BINS)
    assert (found.choice.step, found.held_out) == ("as they were", None)
    assert not any(one.kept for one in found.tiers.values())
    assert set(found.calibration.thresholds) == {"exact", "close"}
    json.dumps(found.to_json(), allow_nan=False)


def test_all_scores_equal(made) -> None:
    shop, logits = made(60)
    found = fit_calibration(shop, np.zeros_like(logits), BINS)
    assert not found.tiers["exact"].kept
    assert not any(one.is_clean for one in found.separations)
    json.dumps(found.to_json(), allow_nan=False)


def test_no_relevant_product_at_all(made) -> None:
    shop, logits = made(60)
    rows = tuple(row.model_copy(update={"relevance": 0.0}) for row in shop.judgments)
    found = fit_calibration(Dataset(shop.products, shop.queries, rows), logits, BINS)
    assert found.tiers["close"].reason == "no query has a product with a relevance of 0.5 or more"
    assert found.calibration.promises["close"].observed is None
    assert found.ranking_change is None
    json.dumps(found.to_json(), allow_nan=False)


def test_who_has_learned_the_queries_promises_nothing(made) -> None:
    found = fit_calibration(*made(300), BINS, promises=["exact: wrong <= 20%"], learned=True)
    assert not any(one.kept for one in found.calibration.promises.values())
    assert "was trained on these queries" in found.tiers["exact"].reason


def test_slices_have_their_queries(made) -> None:
    found = fit_calibration(*made(41), BINS)
    assert {tag: row.queries for tag, row in found.slices.items()} == {"even": 21, "odd": 20}
    assert found.slices["odd"].figures["exact: wrong"].mean == pytest.approx(found.figures["exact"].wrong[1::2].mean())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(made, bad: float) -> None:
    shop, logits = made(5)
    logits[3, 4] = bad
    with pytest.raises(BadInput, match="logits are not finite in row 3"):
        fit_calibration(shop, logits, BINS)


def test_what_does_not_fit_is_refused(made) -> None:
    shop, logits = made(5)
    with pytest.raises(BadInput, match="40 judgments need as many rows of logits, not 39"):
        fit_calibration(shop, logits[1:], BINS)
    with pytest.raises(BadInput, match=r"expected logits of shape \[n, 2\]"):
        fit_calibration(shop, logits, TWO)
    with pytest.raises(BadInput, match="promised or set by hand, not both"):
        fit_calibration(shop, logits, BINS, promises=["exact: wrong <= 5%"], by_hand={"exact": 0.9, "close": 0.5})
    with pytest.raises(BadInput, match="no judgments"):
        fit_calibration(Dataset(shop.products, shop.queries, ()), logits[:0], BINS)


@pytest.mark.parametrize(
    ("by_hand", "says"),
    [
        ({"exact": 0.8}, "close is missing"),
        ({"exact": 0.4, "close": 0.6}, "would begin below"),
        ({"exact": 1.2, "close": 0.6}, "between 0 and 1"),
        ({"exact": float("nan"), "close": 0.6}, "between 0 and 1"),
        ({"good": 0.8, "close": 0.6}, "thresholds are of exact and close"),
    ],
)
def test_thresholds_that_make_no_tiers_are_refused(made, by_hand: dict[str, float], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        fit_calibration(*made(5), BINS, by_hand=by_hand)


def test_an_old_temperature_that_was_right_is_kept(made) -> None:
    shop, logits = made(100, sharpness=3.0)
    found = fit_calibration(shop, logits, BINS, Calibration(temperature=3.0, thresholds={"exact": 0.1}))
    assert found.calibration.temperature == 3.0
    assert set(found.calibration.thresholds) == {"exact", "close"}
