"""The replay: its traffic is Zipf's and repeatable, its counters are the server's, its pictures are drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gen_rerank import BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from harness.traffic import RequestMaker, Settings
from replay import numbers
from replay_parts.encoders import make_encoder
from replay_parts.pictures import draw_load, draw_replay
from replay_parts.playing import Cell, Counts
from replay_parts.zipf import Ranker, ZipfShop, ZipfTraffic, zipf

SETTINGS = Settings("nano")
SMALL = Settings("nano", candidates=5, product_tokens=20, query_tokens=4)


def test_zipf_by_hand():
    assert zipf(3, 1.0) == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert zipf(4, 0.0) == pytest.approx([0.25] * 4)


@pytest.fixture(scope="module")
def traffic(nano):
    def make(seed: int):
        shop = ZipfShop(products=50, queries=20, product_tokens=3, query_tokens=3)
        return ZipfTraffic(shop, RequestMaker(nano.tokenizer, SETTINGS, seed), seed)

    return make


def test_traffic_is_repeatable(traffic):
    first, again, other = ([next(bodies) for _ in range(5)] for bodies in (traffic(s).bodies(7) for s in (0, 0, 1)))
    assert first == again
    assert first != other


def test_a_query_always_finds_the_same_products(traffic):
    bodies = traffic(0).bodies(7)
    found: dict[str, list[str]] = {}
    for _ in range(200):
        body = json.loads(next(bodies))
        assert len(set(body["documents"])) == 7
        assert found.setdefault(body["query"], body["documents"]) == body["documents"]
    assert len(found) > 10


def test_popular_queries_are_asked_more_often(traffic):
    bodies = traffic(0).bodies(1)
    asked = [json.loads(next(bodies))["query"] for _ in range(4000)]
    counts = np.array(sorted((asked.count(query) for query in set(asked)), reverse=True))
    expected = 4000 * zipf(20, 1.0)
    assert len(counts) == 20
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 1).all()


def test_popular_products_are_found_by_more_queries():
    ranker = Ranker(zipf(100, 1.0), seed=0)
    first = [ranker.candidates(query, 1)[0] for query in range(2000)]
    # The first candidate is a draw by popularity.
    assert first.count(0) == pytest.approx(2000 * zipf(100, 1.0)[0], abs=80)
    assert ranker.candidates(3, 10) == ranker.candidates(3, 20)[:10]


def test_counters_by_hand():
    text = """# TYPE gen_rerank_pairs_total counter
gen_rerank_pairs_total{model="a",route="/v1/rerank"} 60.0
gen_rerank_pairs_total{model="b",route="/v1/rerank"} 40.0
# TYPE gen_rerank_cached_pairs_total counter
gen_rerank_cached_pairs_total{model="a"} 25.0
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0"} 3000.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0"} 600.0
"""
    counts = Counts.parse(text, 2.0)
    assert counts == Counts(2.0, 100.0, 25.0, 3000.0, 600.0)
    added = counts.since(Counts(1.0, 50.0, 20.0, 3000.0, 600.0))
    assert (added.seconds, added.score_hits, added.prefix_share) == (1.0, 0.1, 0.0)


def test_numbers():
    assert numbers("1, 8,64", "--clients") == [1, 8, 64]
    for wrong in ("", "1,,2", "0", "a"):
        with pytest.raises(BadInput, match="--clients"):
            numbers(wrong, "--clients")


def test_the_plots_are_drawn(tmp_path):
    counts = Counts(1.0, 100.0, 25.0, 3000.0, 600.0)
    cells = [
        Cell(clients, candidates, (0.1, 0.2), counts, 0.1, (counts, counts))
        for clients in (1, 4)
        for candidates in (16, 64)
    ]
    draw_replay(cells[0], tmp_path)
    draw_load(cells, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"serving-replay.png", "serving-load.png"}


def test_an_encoder_preset_has_its_published_size(tmp_path):
    assert make_encoder("micro", tmp_path, SMALL) == pytest.approx(16.87e6, rel=0.01)
    checkpoint = Checkpoint.open(tmp_path)
    pairs = RequestMaker(checkpoint.tokenizer, SMALL, seed=0).fresh()
    assert {len(ids) for ids in checkpoint.prompt.encode(pairs)} == {20 + 4 + 3}
    assert len(TransformersScorer(checkpoint).score(pairs)) == SMALL.candidates
