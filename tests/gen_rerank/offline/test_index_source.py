"""Queries whose candidates an index finds."""

from __future__ import annotations

import json

import pytest

from gen_rerank import BadInput
from gen_rerank.offline.plan import ScoringPlan
from gen_rerank.offline.scoring import score_here, score_offline
from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.settings import IndexSettings


@pytest.fixture
def plan(tiny_checkpoint, tiny_data, tmp_path) -> ScoringPlan:
    build_index(tiny_data, tmp_path / "index", IndexSettings())
    queries = tmp_path / "queries.jsonl"
    rows = (tiny_data / "queries.jsonl").read_text().splitlines()[:6]
    queries.write_text("\n".join([*rows, '{"query_id": "none", "text": "xyzzy"}', '{"query_id": "q"}']))
    return ScoringPlan(
        str(tiny_checkpoint), tmp_path / "scores", queries=queries, index=tmp_path / "index", top=5, shard_rows=3
    )


def test_the_candidates_of_each_query_are_scored(plan, read_scores) -> None:
    totals = score_offline(plan).totals
    assert (totals.rows, totals.pairs, totals.bad, totals.lost) == (8, 30, 1, 0)
    index = ProductIndex.open(plan.index)
    asked = [json.loads(line) for line in plan.queries.read_text().splitlines()[:6]]
    assert [(row["query_id"], row["product_id"]) for row in read_scores(plan.out)] == [
        (row["query_id"], found.product.product_id) for row in asked for found in index.candidates(row["text"], 5)
    ]
    manifest = json.loads((plan.out / "manifest.json").read_text())
    assert manifest["data"]["top"] == 5


def test_an_index_that_changes_stops_the_run(plan) -> None:
    def engine(job, slices, advance, done) -> None:
        score_here(job, slices[:1], advance, done)
        change_index(plan.index, delete=["p00"])
        score_here(job, slices[1:], advance, done)

    with pytest.raises(BadInput, match=r"the index was changed while its candidates were scored.*is kept in"):
        score_offline(plan, engine)
    with pytest.raises(BadInput, match=r"was begun otherwise: index was \w+, now \w+; choose another --out"):
        score_offline(plan)
