"""Drift: figures that can be checked by hand, and properties that hold for any pair of systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_rerank import BadInput, Dataset, Distribution
from quant.comparison import Drift
from quant.drift import drift, stuck, worst_pairs

THRESHOLDS = {"exact": 0.8, "close": 0.5}


def sure(*bins: int) -> Distribution:
    return Distribution(np.eye(11)[list(bins)])


def two_point(*means: float) -> Distribution:
    rows = np.zeros((len(means), 11))
    rows[:, 0], rows[:, 10] = 1 - np.array(means), means
    return Distribution(rows)


def of_one_query(before: Distribution, after: Distribution) -> object:
    count = len(before)
    return drift(["q"] * count, before, after, THRESHOLDS, product_ids=[f"p{i}" for i in range(count)])


def test_changes_by_hand() -> None:
    found = of_one_query(two_point(0.1, 0.2, 0.3, 0.9), two_point(0.1, 0.3, 0.2, 0.5))
    assert found.mean_change == pytest.approx((0.1 + 0.1 + 0.4) / 4)
    assert found.largest_change == pytest.approx(0.4)
    assert found.p99_change == pytest.approx(
        0.1 + 0.97 * 0.3
    )  # between the third and the fourth, at 0.99 of three steps
    assert found.kendall_tau == pytest.approx((5 - 1) / 6)  # one of six pairs is in the other order
    assert found.flips == {"exact>close": 1}
    assert found.tier_flips == 0.25


def test_jensen_shannon_is_in_bits() -> None:
    assert of_one_query(sure(0, 3), sure(10, 3)).jensen_shannon == pytest.approx(0.5)
    half = Distribution(np.eye(11)[[0]] / 2 + np.eye(11)[[1]] / 2)
    # m = (3/4, 1/4): (log2(4/3) + (1/2 log2(2/3) + 1/2 log2(2))) / 2
    expected = (np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2
    assert of_one_query(sure(0), half).jensen_shannon == pytest.approx(expected, abs=1e-6)


def test_tiers_begin_at_their_thresholds() -> None:
    found = of_one_query(sure(8, 5, 4, 7), sure(7, 4, 5, 8))
    assert found.flips == {"exact>close": 1, "close>exact": 1, "close>irrelevant": 1, "irrelevant>close": 1}
    assert found.tier_flips == 1.0


def test_top5_is_of_each_query_that_has_more() -> None:
    before = two_point(*(0.9 - 0.1 * i for i in range(7)), 0.5, 0.4)
    after = two_point(0.9, 0.8, 0.7, 0.6, 0.05, 0.4, 0.3, 0.1, 0.2)
    queries = ["a"] * 7 + ["b"] * 2
    found = drift(queries, before, after, THRESHOLDS, product_ids=[str(i) for i in range(9)])
    assert found.top5_kept == pytest.approx(4 / 5), "of the first query alone: nothing can leave the second's"
    assert found.top5_changed == 1
    assert found.kendall_tau == pytest.approx(((21 - 2 * 2) / 21 - 1) / 2)


def test_where_no_query_has_more_than_five_candidates_none_can_lose_one() -> None:
    before, after = two_point(*(0.1 * i for i in range(6))), two_point(*(0.1 * (5 - i) for i in range(6)))
    assert of_one_query(before, after).top5_kept == pytest.approx(4 / 5)
    few = of_one_query(before[:5], after[:5])
    assert (few.top5_kept, few.top5_changed, few.kendall_tau) == (None, None, pytest.approx(-1))


def test_equal_scores_do_not_follow_the_order_of_the_rows() -> None:
    same = two_point(*[0.5] * 12)
    ids = [f"p{i}" for i in range(12)]
    forward = drift(["q"] * 12, same, two_point(*[0.5] * 6, *[0.4] * 6), THRESHOLDS, product_ids=ids)
    order = list(range(12))[::-1]
    backward = drift(
        ["q"] * 12, same, two_point(*[0.4] * 6, *[0.5] * 6), THRESHOLDS, product_ids=[ids[i] for i in order]
    )
    assert forward.top5_kept == backward.top5_kept
    assert forward.top5_kept < 1


def test_saturated_spread_and_stuck() -> None:
    found = of_one_query(two_point(0.2, 0.4, 0.6, 0.8), two_point(0.0, 0.0, 1.0, 0.9))
    assert found.saturated == 0.75
    assert found.stuck == 0.75
    before, after = np.std([0.2, 0.4, 0.6, 0.8]), np.std([0.0, 0.0, 1.0, 0.9])
    assert found.spread == pytest.approx(after / before)
    assert of_one_query(sure(0, 5), sure(0, 5)).saturated == 0.0, "as the reference"
    assert of_one_query(two_point(0.998, 0.98), two_point(0.9995, 0.9995)).saturated == 0.5, "the first hardly moved"
    assert of_one_query(sure(5, 5), sure(4, 6)).spread == 1.0, "the reference has none"


def test_stuck_is_to_within_a_thousandth() -> None:
    assert stuck([0.0, 0.0009, 0.0011, 0.4995, 0.5, 0.502, 0.9995, 1.0]).tolist() == [
        True, True, False, True, True, False, True, True,
    ]  # fmt: skip
    assert stuck(np.array([0.3, 0.7], dtype=np.float32)).tolist() == [False, False]


def test_histogram_holds_every_pair() -> None:
    found = of_one_query(two_point(0.5, 0.5, 0.5, 0.5), two_point(0.5, 0.0, 1.0, 0.51)).changes
    assert len(found.edges) == len(found.counts) + 1
    assert sum(found.counts) == 4
    assert (found.counts[0], found.counts[-1], found.counts[len(found.counts) // 2]) == (1, 1, 1)


@given(
    arrays(float, (12, 11), elements=st.floats(0.01, 1.0)),
    arrays(float, (12, 11), elements=st.floats(0.01, 1.0)),
    st.permutations(range(12)),
)
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_pairs_changes_nothing(first: np.ndarray, second: np.ndarray, order: list[int]) -> None:
    def drift_of(order: Sequence[int]) -> Drift:
        sides = (
            Distribution(rows[list(order)] / rows[list(order)].sum(axis=1, keepdims=True)) for rows in (first, second)
        )
        return drift([f"q{i % 2}" for i in order], *sides, THRESHOLDS, product_ids=[f"p{i}" for i in order])

    found, again = drift_of(range(12)), drift_of(order)
    for name, value in found.model_dump(exclude={"changes", "flips"}).items():
        assert getattr(again, name) == pytest.approx(value, abs=1e-9), name
    assert (again.flips, again.changes) == (found.flips, found.changes)
    assert 0 <= found.jensen_shannon <= 1
    assert found.mean_change <= found.largest_change


@given(arrays(float, (6, 11), elements=st.floats(0.01, 1.0)))
@settings(max_examples=20, deadline=None)
def test_nothing_drifts_from_itself(rows: np.ndarray) -> None:
    same = Distribution(rows / rows.sum(axis=1, keepdims=True))
    found = of_one_query(same, same)
    zero = (found.mean_change, found.p99_change, found.largest_change, found.tier_flips, found.saturated)
    assert zero == (0, 0, 0, 0, 0)
    assert found.jensen_shannon == pytest.approx(0, abs=1e-12)
    assert (found.kendall_tau, found.top5_kept, found.spread) == (1, 1, 1)


def test_lengths_must_agree() -> None:
    for queries, before, after in ((["q"], sure(1), sure(1, 2)), (["q", "q"], sure(1), sure(1)), ([], sure(), sure())):
        with pytest.raises(BadInput, match="the same pairs on both sides"):
            drift(queries, before, after, THRESHOLDS, product_ids=queries)


def test_worst_pairs_are_readable_and_in_order(tiny_shop: Dataset) -> None:
    test = tiny_shop.of("test")
    count = len(test.judgments)
    after = np.full(count, 0.5)
    after[3], after[7] = 0.1, 0.8
    worst = worst_pairs(test, two_point(*[0.5] * count), two_point(*after), most=3)
    assert [round(row.candidate_score, 6) for row in worst] == [0.1, 0.8], "pairs that stayed are not among them"
    judged = test.judgments[3]
    assert (worst[0].query_id, worst[0].product_id, worst[0].relevance) == (
        judged.query_id,
        judged.product_id,
        judged.relevance,
    )
    assert worst[0].query == test.queries[judged.query_id].text
    assert worst[0].title == test.products[judged.product_id].title
    assert worst[0].tags == ("colour",)
    assert worst[0].candidate_distribution[10] == pytest.approx(0.1)
    assert len(worst_pairs(test, two_point(*[0.5] * count), two_point(*[0.4] * count))) == 20
