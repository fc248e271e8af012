"""Evaluations as tables for people."""

from __future__ import annotations

import io
import re

import numpy as np
from rich.console import Console

from gen_rerank import Dataset
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.floors import random_scores
from gen_rerank.evaluation.significance import differences
from gen_rerank.evaluation.tables import (
    difference_table,
    ranking_table,
    reliability_table,
    significance_table,
    slices_table,
)


def shown(table) -> str:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table)
    return console.export_text()


def test_tables(judged, noisy):
    floor = evaluate("a floor [red]", judged, random_scores(judged))
    model = evaluate("model", judged, noisy)
    ranking = shown(ranking_table([floor, model]))
    assert "a floor [red]" in ranking  # names are text, not markup
    assert str(model.ranking["nDCG@10"]) in ranking
    assert "8 queries, 120 pairs" in ranking
    assert all(name in ranking for name in (*model.ranking, RPS, MSE, ECE))
    slices = shown(slices_table([floor, model]))
    assert "colour" in slices
    assert str(model.slices["colour"].measures["nDCG@10"]) in slices
    assert str(model.slices["colour"].measures[RPS]) in shown(slices_table([floor, model], RPS))
    assert f"{model.reliability[0].pairs:,}" in shown(reliability_table(model))
    differences = shown(difference_table({"model - floor": difference(model, floor)}))
    assert "model - floor" in differences
    assert "*" in differences
    assert "Ranking" in shown(ranking_table([]))


def test_of_few_queries_neither_interval_nor_test_is_shown(judged):
    """Six queries are enough, four are not; a slice has its own number."""
    said = "neither interval nor test: fewer than 5 queries"
    for number, few in ((1, True), (4, True), (6, False)):
        queries = list(judged.queries)[:number]
        part = Dataset(
            judged.products,
            {key: judged.queries[key] for key in queries},
            tuple(row for row in judged.judgments if row.query_id in queries),
        )
        gold = np.array([row.relevance for row in part.judgments])
        best, worst = evaluate("best", part, gold), evaluate("worst", part, -gold)
        for loaded in (False, True):
            a, b = (Evaluation.from_json(one.to_json()) if loaded else one for one in (best, worst))
            tables = [ranking_table([a, b]), slices_table([a, b]), difference_table({"a - b": difference(a, b)})]
            found = differences({"a": a, "b": b}, [("a", "b")], ["nDCG@5"])
            tables.append(significance_table({"nDCG@5": {"a - b": found["a", "b"]["nDCG@5"]}}))
            for table in map(shown, tables):
                assert (said in " ".join(table.split())) is few
                assert (re.search(r"\d \[", table) is None) is few
                assert not (few and re.search(r"\d \*", table))
            row = found["a", "b"]["nDCG@5"]
            assert (row.p is None, row.holm is None, row.significant) == (few, few, not few)
            assert row.to_json()["queries"] == number


def test_one_query_is_not_queries(by_hand):
    one = Dataset(by_hand.products, {"q": by_hand.queries["q"]}, by_hand.judgments[:2])
    assert "1 query, 2 pairs" in shown(ranking_table([evaluate("x", one, [1, 0])]))
