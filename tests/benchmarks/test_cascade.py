"""The benchmark of cascades on made-up scores: costs add up, depths are depths, and what is counted is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cascade
from cascade_parts.promised import DRAWS, HALVES, PromiseDraw, drawn_outcomes, summary
from cascade_parts.ways import CASCADE, DEPTH, all_ways, at_the_cost_of, fixed_depth
from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.evaluation.scores import write_scores
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from gen_rerank.search.cascade.reading import Bounds


def said(relevance: np.ndarray, noise: float, seed: int) -> Distribution:
    rng = np.random.default_rng(seed)
    centres = 10 * (relevance + rng.normal(0, noise, len(relevance)))
    return Distribution.from_logits(-((centres[:, None] - np.arange(11)) ** 2) / (2 * (1 + 10 * noise) ** 2))


@pytest.fixture(scope="module")
def readings(tiny_shop: Dataset) -> TwoReadings:
    relevance = np.array([row.relevance for row in tiny_shop.judgments])
    return TwoReadings.of(tiny_shop, said(relevance, 0.3, 0), said(relevance, 0.1, 1))


def test_a_depth_of_all_is_the_decoder_and_of_none_the_encoder(readings: TwoReadings) -> None:
    everything, nothing = fixed_depth(readings, 99, 5), fixed_depth(readings, 0, 5)
    assert np.array_equal(everything.ndcg, readings.ndcg(readings.decoder.mean, 5))
    assert everything.pairs.tolist() == readings.products.tolist()
    assert np.array_equal(nothing.ndcg, readings.ndcg(readings.encoder.mean, 5))
    assert nothing.cost == 0


def test_each_depth_meets_the_dearest_cascade_that_costs_no_more(readings: TwoReadings) -> None:
    losses = CascadeLosses.of(readings, 5, [Bounds(low) for low in (0.0, 0.2, 0.5, 1.0)])
    ways = all_ways(readings, losses, [8, 12], 5)
    assert [one.kind for one in ways].count(CASCADE) == 4
    for depth in (one for one in ways if one.kind == DEPTH):
        same = at_the_cost_of(depth, ways)
        assert same is not None
        assert same.cost <= depth.cost
    rows = cascade.pareto_rows(ways, [100.0, 10.0], float(readings.products.mean()))
    assert rows[0][:3] == ["encoder alone", "0.0", f"{10 * readings.products.mean():,.0f}"]
    assert rows[-1][2] == f"{100 * readings.products.mean():,.0f}", "the encoder does not read there"


def test_what_was_broken_is_counted_of_all_draws() -> None:
    found = summary([PromiseDraw(True, 0.01, 0.5), PromiseDraw(True, 0.001, 0.3), PromiseDraw(False, 0.9, 0.1)], 0.005)
    assert (found["promised"], found["broken"], found["broken_share"]) == (2, 1, pytest.approx(1 / 3))
    assert found["read"] == pytest.approx(0.4)
    assert summary([PromiseDraw(False, 0.9, 0.1)], 0.005)["mean_lost"] is None


def test_halves_measure_others_and_draws_all(readings: TwoReadings) -> None:
    losses = CascadeLosses.of(readings, 5, [Bounds(low) for low in (0.0, 0.2, 1.0)])
    for way in (HALVES, DRAWS):
        found = drawn_outcomes(readings, losses, 5, 0.5, way, 3, seed=0)
        assert len(found) == 3
        assert found == drawn_outcomes(readings, losses, 5, 0.5, way, 3, seed=0)
        assert all(one.kept for one in found), "half of nDCG is easily promised"


def test_scores_become_tables_and_a_picture(tiny_shop: Dataset, tiny_data: Path, tmp_path: Path) -> None:
    test = tiny_shop.of("test")
    relevance = np.array([row.relevance for row in test.judgments])
    write_scores(tmp_path / "e.jsonl", test, said(relevance, 0.3, 0))
    write_scores(tmp_path / "d.jsonl", test, said(relevance, 0.1, 1))
    shop = f"tiny={tiny_data},{tmp_path / 'e.jsonl'},{tmp_path / 'd.jsonl'}"
    cascade.main([shop], depths="4,8", at_most=[0.5], draws=2, out=tmp_path / "out")
    whole = json.loads((tmp_path / "out" / "cascade.json").read_text())
    assert whole["shops"]["tiny"][-1]["lost"] == [0.0, 0.0, 0.0]
    assert len(whole["promises"]) == 2
    assert "<svg" in (tmp_path / "out" / "cascade.svg").read_text()
    assert "| cascade 0.1, 1 |" in (tmp_path / "out" / "cascade.md").read_text()


@pytest.mark.parametrize("given", ["shop", "shop=data,e", "=data,e,d", "shop=data,,d"])
def test_a_shop_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match=r"NAME=DATA,ENCODER\.jsonl,DECODER\.jsonl"):
        cascade.opened(given, "test")


@pytest.mark.parametrize("given", ["5", "5,0", "a,b"])
def test_speeds_that_are_none_are_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="write ENCODER,DECODER, such as"):
        cascade.main(["x=y,z,w"], pairs_per_second=given, out=tmp_path)
