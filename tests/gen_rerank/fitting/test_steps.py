"""Which step is taken, and that held-out predictions know nothing of their own queries."""

from __future__ import annotations

import numpy as np

from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.fitting.judged_pairs import JudgedPairs
from gen_rerank.fitting.steps import StepTrial, choose_step

BETTER, NOTHING, WORSE = Interval(-0.2, -0.3, -0.1, 50), Interval(0.0, -0.1, 0.1, 50), Interval(0.2, 0.1, 0.3, 50)


def test_a_step_pays_where_it_saves_rps_and_harms_no_score() -> None:
    for rps, mse, pays in [
        (BETTER, NOTHING, True),
        (BETTER, BETTER, True),
        (BETTER, WORSE, False),
        (NOTHING, BETTER, False),
        (WORSE, BETTER, False),
        (Interval(-0.2, -0.3, -0.1, 4), NOTHING, False),  # of four queries nothing is said
    ]:
        assert StepTrial("with a temperature", "as they were", rps, mse).pays is pays


def test_the_last_step_is_tried_against_what_was_taken(made) -> None:
    shop, logits = made(60, sharpness=4.0)
    first, second = choose_step(JudgedPairs.of(shop, logits, BIN_VALUES.tolist()), Calibration()).trials
    assert (first.step, first.against, first.pays) == ("with a temperature", "as they were", True)
    assert (second.step, second.against) == ("with a temperature and a map", "with a temperature")


def test_a_query_has_no_say_in_what_it_is_measured_by(made) -> None:
    """Other labels of one query change nothing of its own held-out distributions, and something of the others'."""
    shop, logits = made(60, sharpness=4.0)
    pairs = JudgedPairs.of(shop, logits, BIN_VALUES.tolist())
    mine = pairs.queries == 7
    relevance = np.where(mine, 1 - pairs.relevance, pairs.relevance)
    labels = tuple((value,) for value in relevance.tolist())
    other = JudgedPairs(logits, pairs.values, relevance, labels, pairs.queries, pairs.folds)
    before, after = (choose_step(one, Calibration()).held_out for one in (pairs, other))
    assert before is not None
    assert after is not None
    same = pairs.folds == pairs.folds[mine][0]
    assert np.array_equal(before.probabilities[same], after.probabilities[same])
    assert not np.array_equal(before.probabilities[~same], after.probabilities[~same])


def test_labels_between_two_columns_are_split(made) -> None:
    shop, _ = made(1, 2)
    pairs = JudgedPairs.of(shop, np.zeros((2, 2)), (1.0, 0.0))
    wanted = np.array([row.relevance for row in shop.judgments])
    assert np.allclose(pairs.targets, np.stack([wanted, 1 - wanted], axis=1)), "in the order of the readout"
