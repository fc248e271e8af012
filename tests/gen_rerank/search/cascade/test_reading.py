"""Which products are read, in which order, and why it ends; on distributions that one can check by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Distribution
from gen_rerank.search.cascade.reading import Bounds, Reading, ReadingBudget, read_undecided

SURE = np.eye(11)
UNSURE = np.full(11, 1 / 11)


class Says:
    """A second model whose answers are known, and which keeps what it was asked."""

    def __init__(self, rows: Sequence[np.ndarray]) -> None:
        self.rows = np.array(rows)
        self.asked: list[list[int]] = []

    def __call__(self, places: Sequence[int]) -> Distribution:
        self.asked.append(list(places))
        return Distribution(self.rows[list(places)])


def read(first: Sequence[np.ndarray], says: Says, k: int, bounds: Bounds, **more) -> Reading:
    return read_undecided(Distribution(np.array(first)), says, k, bounds, **more)


def test_what_is_decided_is_not_read() -> None:
    says = Says([UNSURE] * 3)
    found = read([SURE[9], SURE[5], SURE[1]], says, 1, Bounds(0.1, 0.9))
    assert (says.asked, found.ended) == ([], "settled")
    assert found.chances.tolist() == [1, 0, 0]


def test_what_is_surely_in_is_read_for_its_order_where_the_upper_bound_is_one() -> None:
    says = Says([SURE[8], SURE[9], SURE[1]])
    found = read([SURE[9], SURE[8], SURE[1]], says, 2, Bounds(0.1))
    assert (says.asked, found.by_decoder.tolist()) == ([[0, 1]], [True, True, False])
    assert found.distribution.mean == pytest.approx([0.8, 0.9, 0.1])


def test_the_most_undecided_come_first_and_chances_are_computed_anew() -> None:
    # Half of the cases 0.9, else 0.1: two are as undecided as can be; the third is 0.5 and is in if both fail.
    either = (SURE[9] + SURE[1]) / 2
    says = Says([SURE[9], SURE[1], SURE[5]])
    found = read([either, either, SURE[5]], says, 1, Bounds(0.05, 0.95), batch=1)
    assert says.asked[0] in ([0], [1])
    assert found.ended == "settled"
    assert found.chances == pytest.approx([1, 0, 0])
    assert all(2 not in one for one in says.asked), "the first at 0.9 settles the third, unread"


def test_a_budget_of_pairs_is_spent_to_the_last() -> None:
    says = Says([UNSURE] * 10)
    found = read([UNSURE] * 10, says, 3, Bounds(0.0), budget=ReadingBudget(pairs=5), batch=4)
    assert ([len(one) for one in says.asked], int(found.by_decoder.sum()), found.ended) == ([4, 1], 5, "pairs")
    assert read([UNSURE] * 10, Says([]), 3, Bounds(0.0), budget=ReadingBudget(pairs=0)).ended == "pairs"


def test_no_batch_begins_when_the_time_is_over() -> None:
    says = Says([UNSURE] * 4)
    assert read([UNSURE] * 4, says, 1, Bounds(0.0), budget=ReadingBudget(milliseconds=0)).ended == "milliseconds"
    assert says.asked == []


@pytest.mark.parametrize("fault", ["late", "down"])
def test_without_an_answer_what_the_first_model_said_stands(fault) -> None:
    first = Distribution(np.array([UNSURE] * 3))
    found = read_undecided(first, lambda places: fault, 1, Bounds(0.0))
    assert (found.ended, found.by_decoder.any()) == (fault, False)
    assert np.array_equal(found.distribution.probabilities, first.probabilities)


def test_what_is_shown_is_read_however_little_the_first_model_knows() -> None:
    """All chances are 1/20; the first one shown turns out bad, so the next one is read, until a good one is first."""
    says = Says([SURE[0]] * 3 + [SURE[10]] * 17)
    found = read([UNSURE] * 20, says, 1, Bounds(0.5), batch=4)
    assert (says.asked, found.ended) == ([[0], [1], [2], [3]], "settled")
    assert found.distribution.mean[3] == 1.0
    assert read([UNSURE] * 20, Says([]), 1, Bounds(1.0, 0.0)).by_decoder.sum() == 0


def test_no_candidates_are_settled() -> None:
    assert read_undecided(Distribution(np.zeros((0, 11))), Says([]), 5, Bounds(0.1)).ended == "settled"


@settings(max_examples=20)
@given(st.integers(1, 14), st.integers(1, 6), st.floats(0, 1), st.integers(1, 9), st.integers(0, 2**31))
def test_in_the_end_nothing_unread_is_undecided_and_nothing_is_read_twice(n, k, low, batch, seed) -> None:
    rng = np.random.default_rng(seed)
    says = Says(rng.dirichlet(np.full(11, 0.3), n))
    found = read(rng.dirichlet(np.full(11, 1.0), n), says, k, Bounds(low), batch=batch)
    asked = [place for batch_of in says.asked for place in batch_of]
    assert sorted(asked) == np.flatnonzero(found.by_decoder).tolist()
    assert max(map(len, says.asked), default=0) <= batch
    assert not (Bounds(low).undecided(found.chances, found.inside) & ~found.by_decoder).any()
    assert found.by_decoder[found.inside].all(), "whatever is shown was read"
    if low == 0:
        assert found.by_decoder.all()


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1), (0, 1.1), (float("nan"), 1)])
def test_bounds_that_are_none(low: float, high: float) -> None:
    with pytest.raises(BadInput, match="are no chances from 0 to 1"):
        Bounds(low, high)


def test_a_budget_that_is_none() -> None:
    with pytest.raises(BadInput, match="a budget of -1 pairs is none"):
        ReadingBudget(pairs=-1)
    with pytest.raises(BadInput, match="a budget of nan milliseconds is none"):
        ReadingBudget(milliseconds=float("nan"))
