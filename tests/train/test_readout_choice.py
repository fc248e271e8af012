"""The folds hold whole queries, and the rule asks for a gain in MSE and no loss in RPS."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.evaluation.intervals import Interval
from train.readout_choice import FOLDS, ReadoutChoice, folds

BETTER, WORSE = Interval(-0.02, -0.03, -0.01, 40), Interval(0.02, 0.01, 0.03, 40)
LEFT, RIGHT = Interval(-0.01, -0.02, 0.001, 40), Interval(0.01, -0.001, 0.02, 40)
NOTHING = Interval(0.0, 0.0, 0.0, 40)


@given(st.sets(st.text(max_size=3), min_size=1), st.integers(0, 5))
def test_each_query_is_in_one_fold_and_folds_are_of_like_size(queries: set[str], seed: int) -> None:
    parts = folds(queries, seed)
    assert len(parts) == FOLDS
    assert set().union(*parts) == queries
    sizes = [len(part) for part in parts]
    assert sum(sizes) == len(queries)
    assert max(sizes) - min(sizes) <= 1
    assert parts[0], "something is held out of any data"
    assert folds(sorted(queries, reverse=True), seed) == parts, "in whatever order they come"


@pytest.mark.parametrize(
    ("mse", "rps", "trained"),
    [
        (BETTER, BETTER, True),
        (BETTER, LEFT, True),
        (BETTER, RIGHT, True),
        (BETTER, NOTHING, True),
        (BETTER, WORSE, False),
        (LEFT, BETTER, False),
        (NOTHING, NOTHING, False),
        (RIGHT, BETTER, False),
        (WORSE, BETTER, False),
    ],
)
def test_the_trained_readout_needs_a_gain_in_mse_and_no_loss_in_rps(
    mse: Interval, rps: Interval, trained: bool
) -> None:
    choice = ReadoutChoice(40, 0.1, {"MSE": mse, "RPS": rps})
    assert choice.trained is trained
    assert choice.sentence.startswith("The trained readout is published" if trained else "The readout stays as it came")
    assert f"MSE {mse.shown('+.5f')}, RPS {rps.shown('+.5f')}" in choice.sentence


@pytest.mark.parametrize(("came", "trained"), [(0.199, True), (0.201, False)])
def test_a_gain_that_may_be_less_than_a_twentieth_is_none(came: float, trained: bool) -> None:
    """At least 0.01 was gained: more than a twentieth of 0.199, and less than one of 0.201."""
    assert ReadoutChoice(40, came, {"MSE": BETTER, "RPS": BETTER}).trained is trained


def test_few_queries_show_nothing() -> None:
    few = ReadoutChoice(4, 0.1, {})
    assert not few.trained
    assert "5 training queries are the fewest that can show a gain, and there are 4" in few.sentence


@pytest.mark.parametrize("choice", [ReadoutChoice(40, 0.1, {"MSE": BETTER, "RPS": LEFT}), ReadoutChoice(4, 0.1, {})])
def test_a_choice_is_read_as_it_was_written(choice: ReadoutChoice) -> None:
    assert ReadoutChoice.from_json(json.loads(json.dumps(choice.to_json()))) == choice
