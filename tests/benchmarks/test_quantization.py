"""The arithmetic of the quantization tables: means over trainings, and which gates failed how often."""

from __future__ import annotations

import math

import pytest

from gen_rerank.evaluation.evaluation import ECE, RPS
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict
from quant.comparison import Candidate, Comparison, Cost, Drift, Histogram, Quality, System, Visit
from quantization import a_gate_failed
from quantization_parts.costs import speed_document
from quantization_parts.quality import OverSeeds, gates_rows, quality_rows


def drift(flips: float) -> Drift:
    return Drift(
        mean_change=0.01, p99_change=0.1, largest_change=0.2, jensen_shannon=0.0, p99_jensen_shannon=0.0,
        kendall_tau=0.95, top5_kept=0.9, top5_changed=0.1, tier_flips=flips, flips={}, saturated=0.0,
        changes=Histogram(edges=(-1.0, 1.0), counts=(1,)),
    )  # fmt: skip


def quality(ndcg: float) -> Quality:
    exactly = {"nDCG@5": ndcg, RPS: 0.1, ECE: 0.02}
    return Quality(measures={name: Interval(value, value, value) for name, value in exactly.items()})


def visit(rate: float) -> Visit:
    return Visit(start_seconds=2.0, resident_bytes=2**20, pairs_per_second=rate, p50_seconds=0.5, p95_seconds=0.6)


def comparison(ndcg: float, flips: float) -> Comparison:
    """One training: a reference of nDCG@5 0.9, and an int8 candidate that passes when at most 1% of the pairs flip."""
    gate = Verdict(gate="tier_flips", passed=flips <= 0.01, measured=f"{flips}", limit="0.01", meaning="…")
    fields = {"folder": "a", "realigned": False, "quality": quality(0.9)}
    costs = [
        (Cost(engine="vllm", dtype="bfloat16", visits=tuple(map(visit, rates))),) for rates in ((10, 12, 20), (18,))
    ]
    reference = System(name="model", scheme="none", disk_bytes=200, cost=costs[0], **fields)
    int8 = Candidate(
        name="int8", scheme="int8", disk_bytes=100, cost=costs[1], **{**fields, "quality": quality(ndcg)},
        delta={"nDCG@5": Interval(ndcg - 0.9, -1.0, 1.0)}, drift=drift(flips), verdicts=(gate,),
    )  # fmt: skip
    return Comparison(
        date="2026-01-01", version="0", commit=None, machine="m", data="d", fingerprint="f", split="test", queries=4,
        pairs=8, floors={}, thresholds={}, thresholds_source="s", candidates_per_query=2, reference=reference,
        floor=drift(0.0), candidates=(int8,),
    )  # fmt: skip


def test_a_mean_over_trainings_has_students_interval():
    found = OverSeeds((1.0, 2.0, 3.0))
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-3)
    assert found.shown(".1f") == "2.0 ± 2.5"
    assert math.isnan(OverSeeds((1.0,)).half_width)


def test_a_row_holds_the_means_and_how_many_trainings_pass():
    reference, int8 = quality_rows([comparison(0.91, 0.02), comparison(0.93, 0.005)])
    assert reference[:3] == ["reference", "1.00", "0.9000"]
    assert int8[:3] == ["int8", "0.50", "0.9200"]
    assert int8[3].startswith("+0.0200 ± ")
    assert int8[-3:] == ["1.25%", "0.950", "1 of 2"]


def test_failed_gates_are_counted():
    rows = gates_rows([comparison(0.91, 0.02), comparison(0.93, 0.005)])
    assert list(rows) == [["int8", "tier_flips (1)"]]


def test_speed_is_the_medians_and_the_ratios_to_the_reference():
    text = speed_document(comparison(0.9, 0.0))
    assert "12.00 (1.00×)" in text
    assert "18.00 (1.50×)" in text
    assert text.count("500 (1.00×)") == 2


def test_only_a_failed_gate_is_a_result():
    assert a_gate_failed(1, "")
    assert not a_gate_failed(1, "Traceback …")
    assert not a_gate_failed(2, "no such folder")
