"""Evaluations as tables for people."""

from __future__ import annotations

import io

from rich.console import Console

from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, difference, evaluate
from gen_rerank.evaluation.floors import random_scores
from gen_rerank.evaluation.tables import difference_table, ranking_table, reliability_table, slices_table


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
