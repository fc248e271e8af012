"""Measures: by hand, against independent implementations, and properties that hold for any ranking or distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_rerank import BIN_VALUES, BadInput, Distribution
from gen_rerank.evaluation import metrics

MRR, MAP = "MRR(rel>=0.8)", "MAP(rel>=0.8)"
GRADES = [1.0, 0.5, 0.0, 0.8]
TABLES = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(11)), elements=st.floats(-8, 8))


def ndcg(ranked: list[float], cutoff: int) -> float:
    """Linear gain, written out."""

    def dcg(gains: list[float]) -> float:
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:cutoff], start=1))

    return dcg(ranked) / dcg(sorted(ranked, reverse=True))


def one_query(relevance, scores, **options):
    products = [f"p{i}" for i in range(len(relevance))]
    found = metrics.ranking(["q"] * len(relevance), products, relevance, scores, **options)
    return {name: float(values[0]) for name, values in found.items()}


def test_measures_name_themselves():
    assert [measure.name for measure in metrics.MEASURES] == ["nDCG@1", "nDCG@5", "nDCG@10", MRR, MAP]
    assert all("linear gain" in measure.meaning for measure in metrics.MEASURES[:3])
    assert all("relevant is 0.8 or more" in measure.meaning for measure in metrics.MEASURES[3:])


def test_ranking_by_hand():
    # The order is 0.5, 0.0, 0.8, 1.0; the ideal one 1.0, 0.8, 0.5, 0.0.
    found = one_query(GRADES, [0.1, 0.9, 0.7, 0.3])
    ideal = 1.0 + 0.8 / math.log2(3) + 0.5 / 2
    assert found["nDCG@1"] == pytest.approx(0.5)
    assert found["nDCG@5"] == pytest.approx((0.5 + 0.8 / 2 + 1.0 / math.log2(5)) / ideal)
    assert found["nDCG@10"] == found["nDCG@5"]
    assert found[MRR] == pytest.approx(1 / 3)
    assert found[MAP] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_the_ideal_is_that_of_all_judged_products():
    """The only relevant product stands sixth: there is nothing within the first five."""
    found = one_query([0, 0, 0, 0, 0, 1], [6, 5, 4, 3, 2, 1])
    assert found["nDCG@5"] == 0
    assert found["nDCG@10"] == pytest.approx(1 / math.log2(7))
    assert found[MRR] == found[MAP] == pytest.approx(1 / 6)


def test_measures_without_relevant_products_are_undefined():
    found = metrics.ranking(["a", "a", "b", "c"], ["1", "2", "1", "1"], [0.0, 0.0, 0.5, 0.8], [1, 2, 3, 4])
    assert np.isnan(found["nDCG@10"]).tolist() == [True, False, False]
    assert np.isnan(found[MRR]).tolist() == [True, True, False]
    assert np.isnan(found[MAP]).tolist() == [True, True, False]


def test_queries_keep_their_order():
    found = metrics.ranking(["z", "a", "z", "a"], ["1", "1", "2", "2"], [1, 1, 0, 0], [2, 1, 1, 2])
    assert found[MRR].tolist() == [1.0, 0.5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(-5, 5)), min_size=1, max_size=15), st.integers(0, 3))
def test_ndcg_is_the_written_out_one_under_any_ties(rows, seed):
    grades = [grade / 10 for grade, _ in rows]
    scores = [float(score) for _, score in rows]
    products = [f"p{i}" for i in range(len(rows))]
    ranks = metrics.shuffled_ranks(["q"] * len(rows), products, scores, seed=seed)
    assert sorted(ranks.tolist()) == list(range(1, len(rows) + 1))
    ranked = [grades[i] for i in np.argsort(ranks)]
    assert np.all(np.diff([scores[i] for i in np.argsort(ranks)]) <= 0)
    found = one_query(grades, scores, seed=seed)
    for cutoff in (1, 5, 10):
        if max(grades) > 0:
            assert found[f"nDCG@{cutoff}"] == pytest.approx(ndcg(ranked, cutoff))
        else:
            assert math.isnan(found[f"nDCG@{cutoff}"])
    hits = [rank for rank, grade in enumerate(ranked, start=1) if grade >= 0.8]
    if hits:
        assert found[MRR] == pytest.approx(1 / hits[0])
        assert found[MAP] == pytest.approx(sum(i / rank for i, rank in enumerate(hits, start=1)) / len(hits))


def test_ties_are_broken_by_chance_and_not_by_the_order_of_the_rows():
    n = 2000
    queries, products = [f"q{i // 2}" for i in range(n)], ["good" if i % 2 == 0 else "bad" for i in range(n)]
    gold = [1.0 if product == "good" else 0.0 for product in products]
    first = metrics.ranking(queries, products, gold, np.zeros(n))[MRR]
    assert 0.70 < first.mean() < 0.80  # half first, half second
    back = metrics.ranking(queries[::-1], products[::-1], gold[::-1], np.zeros(n))[MRR]
    assert back[::-1].tolist() == first.tolist()
    assert metrics.ranking(queries, products, gold, np.zeros(n), seed=1)[MRR].tolist() != first.tolist()


@pytest.mark.parametrize(
    ("relevance", "scores", "reason"),
    [
        ([1.0], [math.nan], "NaN"),
        ([math.nan], [1.0], "NaN"),
        ([1.2], [1.0], "1.2"),
        ([-0.1], [1.0], "-0.1"),
        ([1.0], [1.0, 2.0], "shape"),
        ([1.0, 0.0], [1.0], "shape"),
    ],
)  # fmt: skip
def test_refused_rankings(relevance, scores, reason):
    with pytest.raises(BadInput, match=reason):
        metrics.ranking(["q"], ["p"], relevance, scores)


def test_infinite_scores_rank():
    assert metrics.shuffled_ranks(["q"] * 3, ["a", "b", "c"], [-math.inf, math.inf, 0]).tolist() == [3, 1, 2]


def test_rps_by_hand():
    d = Distribution(np.array([[0.5, 0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]]))
    # Against 0.1: F is ½, ½, 1 and O is 0, 1, 1. Against 0: O is 1, 1, 1. Against 0.05: O is ½, 1, 1.
    assert metrics.ranked_probability_score(d, [[0.1]])[0] == pytest.approx((0.25 + 0.25) / 10)
    assert metrics.ranked_probability_score(d, [[0.0]])[0] == pytest.approx((0.25 + 0.25) / 10)
    assert metrics.ranked_probability_score(d, [[0.05]])[0] == pytest.approx((0.0 + 0.25) / 10)


@settings(max_examples=50, deadline=None)
@given(TABLES, st.integers(0, 10))
def test_rps_is_that_of_scoringrules(table, label):
    d = Distribution.from_logits(table)
    oracle = scoringrules.rps_score(np.full(len(d), label + 1), d.probabilities.astype(np.float64)) / 10
    ours = metrics.ranked_probability_score(d, [[label / 10]] * len(d))
    assert ours == pytest.approx(oracle, abs=1e-6)
    # Its other form, in units of relevance: E|X − y| − ½ E|X − X'|.
    p = d.probabilities.astype(np.float64)
    spread = np.abs(BIN_VALUES[:, None] - BIN_VALUES[None, :])
    assert ours == pytest.approx(
        p @ np.abs(BIN_VALUES - label / 10) - 0.5 * np.einsum("ni,ij,nj->n", p, spread, p), abs=1e-6
    )


@given(TABLES, st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_rps_of_several_labels_is_the_mean_of_each(table, labels):
    d = Distribution.from_logits(table)
    each = [metrics.ranked_probability_score(d, [[label]] * len(d)) for label in labels]
    together = metrics.ranked_probability_score(d, [labels] * len(d))
    assert together == pytest.approx(np.mean(each, axis=0))
    assert ((together >= 0) & (together <= 1)).all()


def test_rps_extremes():
    d = Distribution(np.eye(11)[[0, 10, 4]])
    assert metrics.ranked_probability_score(d, [[1.0], [1.0], [0.7]]).tolist() == pytest.approx([1.0, 0.0, 0.3])


@pytest.mark.parametrize(
    ("labels", "reason"), [([], "1 distributions for 0"), ([[]], "pair 0 has no label"), ([[1.5]], "1.5")]
)
def test_refused_rps(labels, reason):
    with pytest.raises(BadInput, match=reason):
        metrics.ranked_probability_score(Distribution(np.eye(11)[[0]]), labels)


@given(st.floats(0, 1))
def test_label_weights_keep_the_label(label):
    weights = metrics.label_weights([label])
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert (weights > 0).sum() <= 2
    assert float(weights[0] @ BIN_VALUES) == pytest.approx(label, abs=1e-8)


def test_label_weights_of_bins_are_exact():
    assert (metrics.label_weights([k / 10 for k in range(11)]) == np.eye(11)).all()


def test_reliability_by_hand():
    table = metrics.reliability([0.05, 0.95, 1.0, 0.3, np.float32(0.3)], [0.1, 0.5, 1.0, 0.2, 0.4])
    rows = [(row.low, row.high, row.pairs, row.predicted, row.observed) for row in table]
    assert rows[0] == pytest.approx((0.0, 0.1, 1, 0.05, 0.1))
    assert rows[1] == pytest.approx((0.3, 0.4, 2, 0.3, 0.3))
    assert rows[2] == pytest.approx((0.9, 1.0, 2, 0.975, 0.75))
    assert len(rows) == 3


def test_ece_by_hand():
    found = metrics.calibration_error(["a", "a", "b", "b"], [0.05, 0.95, 0.98, 0.35], [0.15, 0.5, 1.0, 0.35])
    # 1/4 · |0.05 − 0.15| + 2/4 · |0.965 − 0.75| + 1/4 · 0
    assert found.mean == pytest.approx(0.025 + 0.1075)
    assert 0 <= found.low <= found.high <= 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
    st.sampled_from([1, 10, 15]),
)
@settings(max_examples=30, deadline=None)
def test_ece_is_that_of_the_reliability_table(rows, bins):
    queries, scores, gold = [str(q) for q, _, _ in rows], [s for _, s, _ in rows], [g for _, _, g in rows]
    table = metrics.reliability(scores, gold, bins)
    expected = sum(row.pairs * abs(row.predicted - row.observed) for row in table) / len(rows)
    assert metrics.calibration_error(queries, scores, gold, bins=bins).mean == pytest.approx(expected, abs=1e-9)


def test_ece_of_a_calibrated_score_is_small_and_its_interval_narrows():
    rng = np.random.default_rng(0)
    gold = rng.random(20_000)
    scores = np.round(gold, 1)
    small, large = (
        metrics.calibration_error([str(i // 10) for i in range(n)], scores[:n], gold[:n]) for n in (500, 20_000)
    )
    assert large.mean < 0.01
    assert large.high - large.low < small.high - small.low


def test_refused_ece():
    with pytest.raises(BadInput, match="at least one"):
        metrics.calibration_error([], [], [])
    with pytest.raises(BadInput, match="for 1 pairs"):
        metrics.calibration_error(["q"], [0.1, 0.2], [0.1, 0.2])


def test_agreement_by_hand():
    # Of the six pairs of items one is the other way round: (5 − 1) / 6.
    found = metrics.agreement([1, 2, 3, 4], [1, 2, 4, 3.5])
    assert found.tau == pytest.approx(4 / 6)
    assert found.max_difference == 1.0
    assert metrics.agreement([1, 2], [2, 1]).tau == pytest.approx(-1)
    assert metrics.agreement([0.5, 0.5], [0.5, 0.5]) == (1.0, 0.0)
    assert metrics.agreement([0.5, 0.5], [0.4, 0.5]).tau == 0.0


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [1.0])])
def test_refused_agreement(a, b):
    with pytest.raises(BadInput, match="scores"):
        metrics.agreement(a, b)
