"""What the serving benchmarks are made of: their arithmetic by hand, their traffic, and that all peers compute the same scores."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from gen_rerank import BadInput, Distribution, Pair, Product
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.engine_plan import prepare_environment
from gen_rerank.scorers.transformers import TransformersScorer


def benchmark(name: str) -> ModuleType:
    """Import a benchmark as its command does: the scripts of the folder know each other by name."""
    folder = str(Path(__file__).parents[2] / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


serving, peers, replay = benchmark("serving"), benchmark("serving_peers"), benchmark("replay")

SETTINGS = serving.Settings("nano")
SMALL = serving.Settings("nano", candidates=5, product_tokens=20, query_tokens=4)


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> Checkpoint:
    return Checkpoint.open(serving.make_model(SETTINGS, tmp_path_factory.mktemp("models")))


# Arithmetic.


def test_operations_by_hand():
    shape = {
        "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 3,
        "intermediate_size": 5,
    }  # fmt: skip
    arithmetic = serving.Arithmetic.of(shape)
    # A layer: queries and output 4 × 6 each, keys and values 4 × 3 each, three matrices of 4 × 5.
    assert arithmetic.weights == 2 * (2 * 24 + 2 * 12 + 60)
    # Three tokens look at 1, 2 and 3; each look is two products of 6 numbers in each of 2 layers.
    assert arithmetic.flops(0, 3) == 2 * 264 * 3 + 4 * 12 * (1 + 2 + 3)
    assert arithmetic.flops(2, 3) == 2 * 264 + 4 * 12 * 3


def test_the_weights_are_those_of_the_model(nano):
    model = AutoModelForCausalLM.from_pretrained(nano.folder)
    matrices = sum(p.numel() for name, p in model.named_parameters() if ".layers." in name and p.dim() == 2)
    assert serving.Arithmetic.of(nano.config).weights == matrices


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_part_and_the_rest_are_the_whole(a, b, c):
    start, middle, end = sorted((a, b, c))
    arithmetic = serving.Arithmetic(weights=7, width=3)
    assert arithmetic.flops(start, middle) + arithmetic.flops(middle, end) == arithmetic.flops(start, end)


def test_the_prefix_cache_by_hand():
    cache = serving.PrefixCache(block=2)
    assert [cache.held(ids) for ids in ([1, 2, 3, 4], [1, 2, 9, 4], [5, 2, 3, 4])] == [0, 2, 0]
    assert cache.held([1, 2, 3, 4]) == 2  # both blocks are held, and the last token is computed all the same
    assert cache.held([1, 2, 3, 4, 5]) == 4


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), max_size=9))
def test_what_is_held_was_seen(prompts):
    cache, seen = serving.PrefixCache(block=2), []
    for ids in prompts:
        held = cache.held(ids)
        assert held % 2 == 0
        assert held < len(ids)
        assert held == 0 or any(other[:held] == ids[:held] for other in seen)
        seen.append(ids)


def test_percentiles_by_hand():
    assert serving.percentiles([float(k) for k in range(1, 101)]) == [50.5, 95.0, 99.0]
    assert serving.percentiles([3.0, 1.0]) == [2.0, 3.0, 3.0]


# The workload.


def test_texts_have_exactly_their_tokens(nano):
    pairs = serving.Workload(nano.tokenizer, SETTINGS, seed=0).fresh()
    assert len(pairs) == 64
    assert len({pair.query for pair in pairs}) == 1
    counts = [len(nano.tokenizer.encode(pair.product.title, add_special_tokens=False).ids) for pair in pairs]
    assert counts == [200] * 64
    assert len(nano.tokenizer.encode(pairs[0].query, add_special_tokens=False).ids) == 24
    assert not any(nano.prompt.prepare(pairs).cut)
    assert {len(ids) for ids in nano.prompt.encode(pairs)} == {200 + 24 + 30}


def test_cold_is_cold_and_warm_is_warm(nano):
    workload, cache = serving.Workload(nano.tokenizer, SETTINGS, seed=0), serving.PrefixCache(32)
    first, second = workload.fresh(), workload.fresh()
    cold = [cache.held(ids) for pairs in (first, second) for ids in nano.prompt.encode(pairs)]
    assert set(cold) == {0}
    warm = workload.about([pair.product for pair in second])
    assert {cache.held(ids) for ids in nano.prompt.encode(warm)} == {
        224
    }  # 26 tokens before the product, and the product
    again = serving.Workload(nano.tokenizer, SETTINGS, seed=0)
    assert again.fresh() == first
    assert serving.Workload(nano.tokenizer, SETTINGS, seed=1).fresh() != first


def test_a_row_ends_when_it_should():
    enough = serving.enough
    settings = serving.Settings("nano", requests=5, seconds=10.0)
    assert [enough(1, 99.0, settings), enough(2, 9.0, settings), enough(2, 10.0, settings), enough(5, 0.0, settings)] == [
        False, False, True, True,
    ]  # fmt: skip


# The run.


def row(name: str, seconds: float, visit: int = 1, clients: int = 1):
    return serving.Measured(name, visit, 64, clients, (seconds,) * 2, 2 * seconds, 1e12, "batch 8")


def test_the_best_peer_and_ours_are_visited_again():
    step, done = serving.Step, serving.Done
    found = [
        done(step("transformers"), [row(serving.TRANSFORMERS, 10.0)]),
        done(step("generate"), [row(serving.GENERATE, 11.0)]),
    ]
    ways = ("ours", "transformers", "generate")
    assert serving.best_peer_again(found, ways) == step("transformers", 2, (8,))
    assert serving.best_peer_again([], ways) is None


def test_targets_are_ratios_of_both_visits():
    rows = [
        row(serving.COLD, 8.0), row(serving.TRANSFORMERS, 10.0), row(serving.WARM, 1.0), row(serving.HTTP, 10.0), row(serving.COLD, 8.0, 2),
    ]  # fmt: skip
    done = [
        serving.Done(serving.Step("peak"), matmul={"1024": 4e11}),
        *(serving.Done(serving.Step("ours"), [each]) for each in rows),
    ]
    targets = {target.name: (target.value, target.met) for target in serving.Report(SETTINGS, done, {}).targets()}
    assert targets["cold, times the best peer"] == (pytest.approx(1.25), True)
    # A request of 1e12 operations in 8 seconds.
    assert targets["cold, share of the bf16 peak"] == (pytest.approx(1e12 / 8 / 4e11), False)
    assert targets["warm, times the best peer"] == (pytest.approx(10.0), True)
    assert targets["pairs/s lost over HTTP"] == (pytest.approx(0.2), False)
    assert "int8 cold, times our cold" not in targets


def test_with_several_clients_the_wall_counts():
    measured = serving.Measured("x", 1, 64, 2, (10.0, 10.0, 10.0, 10.0), 20.0, 0.0)
    assert measured.pairs_per_second == 64 * 4 / 20


def test_the_ledger_gives_back_what_succeeded(tmp_path):
    ledger = serving.Ledger(tmp_path / "x" / "a.jsonl", SETTINGS)
    assert ledger.open(resume=True) == []
    done = serving.Done(serving.Step("ours", 1, (4, 8)), [row(serving.COLD, 8.0)], {"1024": 1.0})
    ledger.add(done)
    ledger.add(serving.Done(serving.Step("int8"), failed="no memory"))
    assert ledger.open(resume=True) == [done]
    with pytest.raises(BadInput, match="other settings"):
        serving.Ledger(ledger.path, SMALL).open(resume=True)
    assert ledger.open(resume=False) == []
    assert len(ledger.path.read_text().splitlines()) == 1


def test_steps_are_isolated(tmp_path):
    step = serving.Step("transformers", batch_sizes=(2,))
    done = serving.in_own_process(step, serving.Settings("nano", 4, requests=2), tmp_path, limit=300)
    assert not done.failed
    (measured,) = done.rows
    assert (measured.row, measured.note, len(measured.latencies)) == (serving.TRANSFORMERS, "batch 2", 2)
    assert "took more than 0 seconds" in serving.in_own_process(step, SETTINGS, tmp_path, limit=0.01).failed
    (tmp_path / "nano-product_first" / "config.json").write_text("{")
    failed = serving.in_own_process(step, SETTINGS, tmp_path, limit=300).failed
    assert "not valid JSON" in failed
    assert "Traceback" in (tmp_path / "transformers-1.log").read_text()


def test_a_profile_by_hand():
    def event(name: str, start: float, seconds: float, tid: int = 1) -> dict:
        return {"ph": "X", "cat": "cpu_op", "tid": tid, "ts": start * 1e6, "dur": seconds * 1e6, "name": name}

    events = [
        event("execute_context", 0, 10), event("## Call CompiledFxGraph x ##", 1, 8), event("_C::onednn_mm", 2, 4), event("aten::mm", 3, 1),
        event("_C::cpu_attention_with_kv_cache", 6, 2), event("aten::copy_", 9.5, 0.25), event("_C::onednn_mm", 0, 1, tid=2),
        {"ph": "M", "name": "process_name"},
    ]  # fmt: skip
    seconds = serving.self_seconds(events)
    assert seconds["_C::onednn_mm"] == pytest.approx(3 + 1)
    assert seconds["execute_context"] == pytest.approx(10 - 8 - 0.25)
    shares = serving.shares(seconds, wall=20.0)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["matrix products"] == pytest.approx(5 / 20)
    assert shares["attention"] == pytest.approx(2 / 20)
    assert shares["norms, activations, positions"] == pytest.approx(2 / 20)
    assert shares[serving.REST] == pytest.approx(2 / 20)


# All compute the same.


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(scope="module")
def pairs(checkpoint) -> list[Pair]:
    """Of different lengths, so that batches are padded."""
    workload = serving.Workload(checkpoint.tokenizer, SMALL, seed=0)
    return [
        Pair(workload.text(1 + k), Product(product_id=str(k), title=workload.text(3 + 5 * (k % 4)))) for k in range(9)
    ]


@pytest.fixture(scope="module")
def expected(checkpoint, pairs) -> Distribution:
    scored = TransformersScorer(checkpoint, dtype=torch.float32).score(pairs)
    assert np.ptp(scored.mean) > 1e-3  # else anything would agree
    return scored


@pytest.mark.parametrize("batch_size", [1, 4])
def test_transformers_gives_our_scores(checkpoint, pairs, expected, batch_size):
    found = peers.TransformersPeer(checkpoint, batch_size, torch.float32).score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-5


def test_the_cross_encoder_gives_our_scores(checkpoint, pairs, expected, tmp_path):
    peers.export_classifier(checkpoint, tmp_path)
    found = peers.CrossEncoderPeer(checkpoint, tmp_path, 4, torch.float32).score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-5


def test_the_cross_encoder_reads_our_tokens(nano, tmp_path):
    peers.export_classifier(nano, tmp_path)
    pairs = serving.Workload(nano.tokenizer, SETTINGS, seed=0).fresh(2)
    model = peers.CrossEncoderPeer(nano, tmp_path, 4).model
    read = model.tokenizer([pair.query for pair in pairs], [pair.product.title for pair in pairs])["input_ids"]
    assert read == nano.prompt.encode(pairs)


def test_generation_gives_our_scores(checkpoint, pairs, expected):
    pytest.importorskip("vllm")
    prepare_environment()
    with peers.GeneratePeer(checkpoint, enforce_eager=True, dtype="float32") as peer:
        found = peer.score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4


# The replay.


def test_zipf_by_hand():
    assert replay.zipf(3, 1.0) == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert replay.zipf(4, 0.0) == pytest.approx([0.25] * 4)


@pytest.fixture(scope="module")
def traffic(nano):
    def make(seed: int):
        shop = replay.Shop(products=50, queries=20, product_tokens=3, query_tokens=3)
        return replay.Traffic(shop, serving.Workload(nano.tokenizer, SETTINGS, seed), seed)

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
    expected = 4000 * replay.zipf(20, 1.0)
    assert len(counts) == 20
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 1).all()


def test_popular_products_are_found_by_more_queries():
    ranker = replay.Ranker(replay.zipf(100, 1.0), seed=0)
    first = [ranker.candidates(query, 1)[0] for query in range(2000)]
    # The first candidate is a draw by popularity.
    assert first.count(0) == pytest.approx(2000 * replay.zipf(100, 1.0)[0], abs=80)
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
    counts = replay.Counts.parse(text, 2.0)
    assert counts == replay.Counts(2.0, 100.0, 25.0, 3000.0, 600.0)
    added = counts.since(replay.Counts(1.0, 50.0, 20.0, 3000.0, 600.0))
    assert (added.seconds, added.score_hits, added.prefix_share) == (1.0, 0.1, 0.0)


def test_numbers():
    assert replay.numbers("1, 8,64", "--clients") == [1, 8, 64]
    for wrong in ("", "1,,2", "0", "a"):
        with pytest.raises(BadInput, match="--clients"):
            replay.numbers(wrong, "--clients")


def test_the_plots_are_drawn(tmp_path):
    counts = replay.Counts(1.0, 100.0, 25.0, 3000.0, 600.0)
    cells = [
        replay.Cell(clients, candidates, (0.1, 0.2), counts, 0.1, (counts, counts))
        for clients in (1, 4)
        for candidates in (16, 64)
    ]
    replay.draw(cells[0], cells, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"serving-replay.png", "serving-load.png"}


def test_an_encoder_preset_has_its_published_size(tmp_path):
    assert replay.make_encoder("micro", tmp_path, SMALL) == pytest.approx(16.87e6, rel=0.01)
    checkpoint = Checkpoint.open(tmp_path)
    pairs = serving.Workload(checkpoint.tokenizer, SMALL, seed=0).fresh()
    assert {len(ids) for ids in checkpoint.prompt.encode(pairs)} == {20 + 4 + 3}
    assert len(TransformersScorer(checkpoint).score(pairs)) == SMALL.candidates
