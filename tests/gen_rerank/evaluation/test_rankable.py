"""One rule says which queries can be ranked; the others are counted and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.evaluation.evaluation import HEADLINE, Evaluation, evaluate
from gen_rerank.evaluation.rankable import Unranked, can_rank, deciding_queries, unranked


def judged(**relevances: list[float]) -> Dataset:
    """Return a split with these judgments by query."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"product {i}") for i in range(4)}
    queries = {name: Query(query_id=name, text=name, split="test") for name in relevances}
    rows = [
        Judgment(query_id=name, product_id=f"p{i}", relevance=value)
        for name, values in relevances.items()
        for i, value in enumerate(values)
    ]
    return Dataset(products, queries, tuple(rows))


def test_two_judgments_that_differ_can_be_ranked() -> None:
    data = judged(good=[1.0, 0.0], one=[1.0], flat=[0.5, 0.5, 0.5], none=[0.0, 0.0], also=[0.0, 0.1])
    assert unranked(data) == Unranked(single=("one",), alike=("flat", "none"))
    assert can_rank(data)
    assert not can_rank(judged(one=[1.0], flat=[0.5, 0.5], none=[0.0, 0.0]))


def test_each_measure_needs_two_products_that_it_tells_apart() -> None:
    data = judged(good=[1.0, 0.0], close=[1.0, 0.9], low=[0.5, 0.0], flat=[0.9, 0.9], none=[0.0, 0.0], one=[1.0])
    ndcg, relevant = ("nDCG@1", "nDCG@5", "nDCG@10"), ("MRR(rel>=0.8)", "MAP(rel>=0.8)")
    assert deciding_queries(data) == {**dict.fromkeys(ndcg, 3), **dict.fromkeys(relevant, 1)}


def test_where_a_query_can_be_ranked_the_headline_is_defined() -> None:
    data = judged(low=[0.0, 0.01], one=[0.0])
    defined = ~np.isnan(evaluate("x", data, np.zeros(3)).per_query[HEADLINE])
    assert defined.tolist() == [True, False]


def test_the_sentence_counts_and_names_a_few() -> None:
    found = Unranked(("q1", "q2"), ("q3",))
    said = "3 of 40 queries cannot be ranked: 2 have one judgment (q1, q2), 1 has all alike (q3)"
    assert found.sentence(40) == said
    assert Unranked(alike=tuple("abcde")).sentence(5) == (
        "5 of 5 queries cannot be ranked: 5 have all alike (a, b, c and 2 more)"
    )
    assert Unranked().sentence(40) is None


def test_a_report_names_all_of_them_and_older_reports_open() -> None:
    report = evaluate("x", judged(good=[1.0, 0.0], one=[1.0], flat=[0.5, 0.5]), np.arange(5.0))
    row = report.to_json()
    assert row["unranked"] == {"one_judgment": ["one"], "all_alike": ["flat"]}
    assert Evaluation.from_json(json.loads(json.dumps(row))).unranked == report.unranked
    del row["unranked"]
    assert Evaluation.from_json(row).unranked == Unranked()


def test_evaluate_says_it_under_the_table(run, tiny_checkpoint: Path, tmp_path: Path) -> None:
    judged(good=[1.0, 0.0], one=[1.0]).save(tmp_path / "data")
    code, out, _ = run("evaluate", tiny_checkpoint, tmp_path / "data", "--out", tmp_path / "e.json")
    assert code == 0
    assert "\n1 of 2 queries cannot be ranked: 1 has one judgment (one)\n" in out
    assert json.loads((tmp_path / "e.json").read_text())["unranked"]["one_judgment"] == ["one"]


def test_a_gate_on_queries_that_cannot_be_ranked_is_not_judged_and_fails(run, tiny_checkpoint, tmp_path) -> None:
    data = tmp_path / "data"
    judged(**{f"q{i}": [1.0, 1.0] for i in range(6)}).save(data)
    gate = "ndcg@5 of B - A >= -0.005"
    code, out, err = run("evaluate", tiny_checkpoint, tiny_checkpoint, data, "--gate", gate, "--json")
    (verdict,) = json.loads(out)["gates"]
    assert (code, verdict["passed"]) == (1, None)
    assert verdict["meaning"].startswith("too few queries to judge by: systems can differ in nDCG@5 in 0 queries")
    assert "Traceback" not in err


def test_evaluate_works_where_no_query_can_be_ranked(run, tiny_checkpoint: Path, tmp_path: Path) -> None:
    judged(none=[0.0, 0.0], one=[0.0]).save(tmp_path / "data")
    code, out, _ = run("evaluate", tiny_checkpoint, tmp_path / "data", "--out", tmp_path / "e.json")
    assert code == 0
    assert "2 of 2 queries cannot be ranked" in out
