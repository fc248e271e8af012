"""Both nDCG of ERESS: by hand, against pytrec_eval, and what sets them apart."""

from __future__ import annotations

import io
import json
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import nDCG
from rich.console import Console

from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.evaluation.eress_measures import MTEB, PUBLISHED, RANDOM, eress_report, mteb_ndcg, published_ndcg
from gen_rerank.evaluation.metrics import shuffled_ranks

PAIRS = st.lists(st.tuples(st.integers(0, 100), st.integers(-5, 5)), min_size=1, max_size=15)


def one_query(measure, relevance, scores, **options):
    products = [f"p{i}" for i in range(len(relevance))]
    return float(measure(["q"] * len(relevance), products, relevance, scores, **options)[0])


def trec(grades: dict[str, int], ranked: list[str], cutoff: int) -> float:
    """nDCG with linear gain of integers by pytrec_eval, which also orders by score."""
    run = {"q": {product: float(-rank) for rank, product in enumerate(ranked)}}
    return next(iter(ir_measures.pytrec_eval.evaluator([nDCG @ cutoff], {"q": grades}).iter_calc(run))).value


def test_the_published_figure_by_hand():
    """The order is 0.5, 1.0, 0.0; the gains are √2 − 1, 1 and 0."""
    low = math.sqrt(2) - 1
    expected = (low + 1 / math.log2(3)) / (1 + low / math.log2(3))
    assert one_query(published_ndcg, [1.0, 0.5, 0.0], [0.5, 0.9, 0.1]) == pytest.approx(expected, abs=1e-12)


def test_mtebs_figure_by_hand():
    """The order is 0.5, 1.0, 0.0; the gains are 50, 100 and 0."""
    expected = (50 + 100 / math.log2(3)) / (100 + 50 / math.log2(3))
    assert one_query(mteb_ndcg, [1.0, 0.5, 0.0], [0.5, 0.9, 0.1]) == pytest.approx(expected, abs=1e-6)


def test_the_published_ideal_is_blind_to_what_was_left_out():
    """The only good product stands sixth, and the poor ones before it in their best order."""
    relevance, scores = [0.2, 0.1, 0.1, 0.0, 0.0, 1.0], [6, 5, 4, 3, 2, 1]
    assert one_query(published_ndcg, relevance, scores) == pytest.approx(1.0)
    poor = 20 + 10 / math.log2(3) + 10 / 2
    ideal = 100 + 20 / math.log2(3) + 10 / 2 + 10 / math.log2(5)
    assert one_query(mteb_ndcg, relevance, scores) == pytest.approx(poor / ideal, abs=1e-6)


def test_mteb_rounds_grades_to_hundredths():
    """0.004 is 0 there, and 0.125 is 12, as Python rounds."""
    assert one_query(mteb_ndcg, [0.004, 0.0], [1, 2]) == 0.0
    assert one_query(published_ndcg, [0.004, 0.0], [1, 2]) == pytest.approx(1 / math.log2(3))
    assert one_query(mteb_ndcg, [0.125, 0.12, 0.0], [1, 2, 3]) == one_query(mteb_ndcg, [0.12, 0.12, 0.0], [1, 2, 3])


def test_nothing_relevant_counts_as_zero_in_both():
    assert one_query(published_ndcg, [0.0, 0.0], [1, 2]) == one_query(mteb_ndcg, [0.0, 0.0], [1, 2]) == 0.0
    # Where what is relevant stands behind the cutoff, there is no ideal to divide by.
    assert one_query(published_ndcg, [0, 0, 0, 0, 0, 1], [6, 5, 4, 3, 2, 1]) == 0.0


@given(PAIRS, st.integers(1, 6), st.integers(0, 2))
def test_both_are_what_pytrec_eval_gives(rows, cutoff, seed):
    """The published one with gains as integers, and only the model's own first products judged."""
    products = [f"p{i}" for i in range(len(rows))]
    grades, scores = [grade / 100 for grade, _ in rows], [float(score) for _, score in rows]
    ranks = shuffled_ranks(["q"] * len(rows), products, scores, seed=seed)
    ranked = [products[i] for i in np.argsort(ranks)]
    options = {"cutoff": cutoff, "seed": seed}
    hundredths = dict(zip(products, (grade for grade, _ in rows), strict=True))
    assert one_query(mteb_ndcg, grades, scores, **options) == trec(hundredths, ranked, cutoff)
    gains = {product: round(1e5 * (2 ** (hundredths[product] / 100) - 1)) for product in ranked[:cutoff]}
    assert one_query(published_ndcg, grades, scores, **options) == pytest.approx(trec(gains, ranked, cutoff), abs=1e-3)


@given(PAIRS)
def test_a_perfect_order_has_one_and_all_are_within_bounds(rows):
    grades = [grade / 100 for grade, _ in rows]
    for measure in (published_ndcg, mteb_ndcg):
        assert 0.0 <= one_query(measure, grades, [score for _, score in rows]) <= 1.0 + 1e-9
        assert one_query(measure, grades, grades) == pytest.approx(1.0 if any(grades) else 0.0)


def test_queries_keep_their_order():
    rows = (["z", "a", "z", "a"], ["1", "1", "2", "2"], [1, 1, 0, 0], [2, 1, 1, 2])
    for measure in (published_ndcg, mteb_ndcg):
        assert measure(*rows).round(6).tolist() == [1.0, round(1 / math.log2(3), 6)]


def test_the_report_has_each_system_and_random_order(judged: Dataset, noisy: Distribution):
    gold = [row.relevance for row in judged.judgments]
    report = eress_report(judged, {"noisy": noisy, "gold": gold})
    assert list(report.systems) == ["noisy", "gold", RANDOM]
    assert (report.queries, report.pairs, report.data) == (8, len(gold), judged.fingerprint)
    for name in (PUBLISHED, MTEB):
        assert report.systems["gold"][name].mean == pytest.approx(1.0)
        assert report.systems[RANDOM][name].mean < report.systems["noisy"][name].mean
        assert all(each[name].low <= each[name].mean <= each[name].high for each in report.systems.values())
    # The reason to show both: to random order the published one gives more.
    assert report.systems[RANDOM][PUBLISHED].mean > report.systems[RANDOM][MTEB].mean + 0.1


def test_the_report_as_a_table_and_as_json(judged: Dataset, noisy: Distribution):
    report = eress_report(judged, {"a[b]": noisy})
    printed = io.StringIO()
    Console(width=130, file=printed).print(report.table())
    first, second = (line for line in printed.getvalue().splitlines() if line.startswith(("│ a[b]", "│ random")))
    assert str(report.systems["a[b]"][PUBLISHED]) in first
    assert str(report.systems[RANDOM][MTEB]) in second
    row = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert row["systems"]["a[b]"][MTEB] == [round(x, 6) for x in report.systems["a[b]"][MTEB].to_json()]
    assert set(row["measures"]) == {PUBLISHED, MTEB}


def test_the_report_refuses_what_it_cannot_measure(judged: Dataset, noisy: Distribution):
    with pytest.raises(BadInput, match="no judgments"):
        eress_report(Dataset(judged.products, judged.queries, ()), {"ours": []})
    with pytest.raises(BadInput, match="may not be named 'random'"):
        eress_report(judged, {RANDOM: noisy})
    with pytest.raises(BadInput, match="expected 120 scores"):
        eress_report(judged, {"ours": [0.5]})
    with pytest.raises(BadInput, match="number 0 is NaN"):
        eress_report(judged, {"ours": [math.nan] * len(judged.judgments)})
