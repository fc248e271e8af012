"""Recall and nDCG of what was found, beside trec_eval and all orders of a few products."""

from __future__ import annotations

from itertools import combinations, permutations
from math import isnan

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import nDCG

from gen_rerank.evaluation.metrics import ranking
from gen_rerank.evaluation.retrieval_measures import (
    judged_only,
    ndcg_of_found,
    oracle_order,
    random_ndcg,
    random_recall,
    recall,
)

NAN = float("nan")


def test_recall_by_hand() -> None:
    assert recall(["a", "b", "c"], {"c", "d"}, 2) == 0.0
    assert recall(["a", "b", "c"], {"c", "d"}, 16) == 0.5
    assert recall([], {"c"}, 16) == 0.0
    assert isnan(recall(["a"], set(), 16))


def test_random_recall_is_that_of_all_draws() -> None:
    """Of the relevant products one is not in the index."""
    held, relevant = "abcde", {"a", "b", "z"}
    draws = [recall(list(drawn), relevant, 2) for drawn in combinations(held, 2)]
    assert random_recall(products=5, held=2, relevant=3, depth=2) == pytest.approx(np.mean(draws))
    assert random_recall(products=5, held=2, relevant=3, depth=64) == pytest.approx(2 / 3)
    assert isnan(random_recall(products=5, held=0, relevant=0, depth=2))


def test_ndcg_by_hand() -> None:
    """An unjudged product stands first, and one of the judged is not found."""
    judged, found = np.array([0.5, 1.0, 0.5]), np.array([NAN, 1.0, 0.5])
    ideal = 1.0 + 0.5 / np.log2(3) + 0.5 / 2
    assert ndcg_of_found(found, judged, 10) == pytest.approx((1.0 / np.log2(3) + 0.5 / 2) / ideal)
    assert ndcg_of_found(found, judged, 1) == 0.0
    assert ndcg_of_found(judged_only(found), judged, 10) == pytest.approx((1.0 + 0.5 / np.log2(3)) / ideal)
    assert ndcg_of_found(np.array([]), judged, 10) == 0.0
    assert isnan(ndcg_of_found(found, np.array([0.0, 0.0]), 10))


@given(st.data())
def test_ndcg_is_that_of_trec_eval(data: st.DataObject) -> None:
    """Some products are judged, some are found; trec_eval counts unjudged ones as not relevant too."""
    grades = data.draw(st.lists(st.sampled_from([0, 1, 2, 5, 10]), min_size=1, max_size=15))
    places = data.draw(st.permutations(range(20)))[: data.draw(st.integers(1, 20))]
    found = np.array([grades[place] / 10 if place < len(grades) else NAN for place in places])
    ours = ndcg_of_found(found, np.array(grades) / 10, 10)
    qrels = {"q": {str(place): grade for place, grade in enumerate(grades)}}
    run = {"q": {str(place): -float(rank) for rank, place in enumerate(places)}}
    (theirs,) = ir_measures.pytrec_eval.evaluator([nDCG @ 10], qrels).iter_calc(run)
    if max(grades):
        assert ours == pytest.approx(theirs.value)
    else:
        assert isnan(ours)


def test_ndcg_is_that_of_evaluate() -> None:
    gold, scores = np.array([0.2, 1.0, 0.7]), np.array([0.9, 0.1, 0.5])
    house = ranking(["q"] * 3, ["a", "b", "c"], gold, scores)
    for cutoff in (1, 5, 10):
        assert ndcg_of_found(gold[[0, 2, 1]], gold, cutoff) == pytest.approx(house[f"nDCG@{cutoff}"][0])


def test_random_ndcg_is_that_of_all_orders() -> None:
    found, judged = np.array([1.0, NAN, 0.5, 0.0, NAN]), np.array([1.0, 0.5, 0.0, 0.8])
    for cutoff in (2, 10):
        orders = [ndcg_of_found(found[list(order)], judged, cutoff) for order in permutations(range(5))]
        assert random_ndcg(found, judged, cutoff) == pytest.approx(np.mean(orders))
    assert random_ndcg(np.array([]), judged, 10) == 0.0


@given(st.lists(st.sampled_from([NAN, 0.0, 0.3, 1.0]), max_size=5))
def test_no_order_is_better_than_the_oracle(values: list[float]) -> None:
    found, judged = np.array(values), np.array([1.0, 0.3, 0.3, *(x for x in values if not isnan(x))])
    best = ndcg_of_found(found[oracle_order(found)], judged, 3)
    assert best == pytest.approx(max(ndcg_of_found(found[list(o)], judged, 3) for o in permutations(range(len(found)))))
    # Without unjudged products the same order is worth as much.
    assert ndcg_of_found(judged_only(found[oracle_order(found)]), judged, 3) == pytest.approx(best)
