"""A comparison made by hand, of four candidates: one that can ship, one that fails, one refused, one loaded as NF4."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict
from quant.comparison import (
    Candidate,
    Check,
    Comparison,
    Cost,
    Drift,
    Histogram,
    LayerError,
    Quality,
    SliceChange,
    System,
    Visit,
    WorstPair,
)

HOSTILE = "<script>alert(1)</script> a|b `x` *y* [z](w) [/red]"
REFUSED = "the row of <|rel_3|> gives logits that are not finite"
NO_KERNEL = "vLLM has no kernel for this scheme on this machine: Failed to find a kernel"
DECODED = "transformers decodes the weights at load, so that its speed says nothing of the scheme."
GATES = {
    "template": "same",
    "ndcg@5": "lower bound at least -0.005",
    "tier_flips": "at most 1.0%",
    "served": "at most 0.05",
}


def quality(ndcg5: float) -> Quality:
    names = {"nDCG@5": ndcg5, "nDCG@10": ndcg5 + 0.02, "RPS": 0.09, "MSE": 0.03, "ECE(10 bins)": 0.02}
    return Quality(measures={name: Interval(value, value - 0.03, value + 0.03) for name, value in names.items()})


def drift(spread: float, flips: dict[str, int]) -> Drift:
    moved = np.random.default_rng(0).laplace(0, spread, 1200)
    counts, edges = np.histogram(np.clip(moved, -1, 1), np.linspace(-1, 1, 201))
    return Drift(
        mean_change=float(np.abs(moved).mean()),
        p99_change=float(np.quantile(np.abs(moved), 0.99)),
        largest_change=float(np.abs(moved).max()),
        jensen_shannon=spread / 10,
        p99_jensen_shannon=spread,
        kendall_tau=1 - spread,
        top5_kept=1 - spread / 2,
        top5_changed=spread,
        tier_flips=sum(flips.values()) / 1200,
        flips=flips,
        saturated=0.0,
        changes=Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist())),
    )


def visits(rate: float, resident: int) -> tuple[Visit, ...]:
    return tuple(
        Visit(
            start_seconds=20.5 * slower,
            resident_bytes=round(resident * slower),
            pairs_per_second=rate / slower,
            p50_seconds=64 / rate * slower,
            p95_seconds=80 / rate * slower,
        )
        for slower in (1.0, 0.98, 1.04)
    )


def verdicts(**failed: tuple[bool | None, str, str]) -> tuple[Verdict, ...]:
    rows = []
    for gate, limit in GATES.items():
        passed, measured, meaning = failed.get(
            gate.replace("@", ""), (True, "0.0004 (floor 0.0000)", "guards what it guards.")
        )
        rows.append(Verdict(gate=gate, passed=passed, measured=measured, limit=limit, meaning=meaning))
    return tuple(rows)


def slices(worst: float) -> dict[str, SliceChange]:
    return {
        "typo": SliceChange(queries=31, ndcg5=Interval(worst, worst - 0.02, worst + 0.015), mean_change=0.012),
        "brand_excluded": SliceChange(queries=44, ndcg5=Interval(0.004, -0.006, 0.013), mean_change=0.007),
        "a|tag": SliceChange(queries=1, ndcg5=Interval(0.0, 0.0, 0.0), mean_change=0.0),
    }


def worst(count: int) -> tuple[WorstPair, ...]:
    flat, peak = (1 / 11,) * 11, (0.0,) * 8 + (0.1, 0.3, 0.6)
    return tuple(
        WorstPair(
            query_id=f"q{i}",
            query="desk without drawers\n| oak",
            tags=("negation",) if i % 2 else (),
            product_id=f"p{i}",
            title=f"Writing desk {i} {HOSTILE}",
            relevance=0.2,
            reference_score=0.95,
            candidate_score=0.95 - 0.4 / (i + 1),
            reference_distribution=peak,
            candidate_distribution=flat,
        )
        for i in range(count)
    )


def candidate(name: str, scheme: str, ndcg5: float, disk: int, **given) -> Candidate:
    delta = ndcg5 - 0.87
    whole = {"nDCG@5": Interval(delta, delta - 0.004, delta + 0.004), "RPS": Interval(0.006, 0.001, 0.011)}
    checks = (Check(name="base", held=True, finding="All rows and norms are the reference's."),)
    layers = tuple(
        LayerError(layer=f"model.layers.{i}.mlp.down_proj", relative_error=0.01 / (i + 1), scale=1 - 0.001 * i)
        for i in range(10)
    )
    values = {
        "realigned": False,
        "quality": quality(ndcg5),
        "delta": whole,
        "checks": checks,
        "layers": layers,
        "slices": slices(delta),
        "worst": worst(20),
    }
    return Candidate(name=name, folder=f"runs/{name}", scheme=scheme, disk_bytes=disk, **values | given)


def a_reference() -> System:
    served = Cost(
        engine="vllm",
        dtype="bfloat16",
        visits=visits(1200, 500_000_000),
        served_change=0.0021,
        served_largest=0.003,
        served_pairs=256,
    )
    return System(
        name="shop-model",
        folder="runs/shop-model",
        scheme="none",
        realigned=False,
        disk_bytes=3_400_000,
        quality=quality(0.87),
        cost=(served, Cost(engine="transformers", dtype="bfloat16", visits=visits(800, 450_000_000))),
    )


def candidates() -> tuple[Candidate, ...]:
    flips = {"exact>close": 40, "close>irrelevant": 30, "irrelevant>close": 3}
    served = Cost(
        engine="vllm",
        dtype="bfloat16",
        visits=visits(1900, 410_000_000),
        served_change=0.0031,
        served_largest=0.0412,
        served_pairs=256,
    )
    refused = Cost(engine="vllm", dtype="bfloat16", unmeasured=NO_KERNEL)
    decoded = Cost(engine="transformers", dtype="bfloat16", unmeasured=DECODED)
    failed = verdicts(
        tier_flips=(False, "6.1% (floor 0.0%)", "6.1% of pairs change tier, at most 1.0% is allowed."),
        ndcg5=(False, "-0.032", "the ranking loses up to 0.032 nDCG@5."),
        served=(None, "–", "vLLM did not serve it."),
    )
    return (
        candidate(
            "int8", "int8", 0.871, 2_100_000, drift=drift(0.004, {"exact>close": 2}), verdicts=verdicts(),
            cost=(served, decoded),
        ),
        candidate(
            HOSTILE, "mxfp4", 0.842, 1_400_000, realigned=True, drift=drift(0.05, flips), verdicts=failed,
            cost=(refused, decoded), slices={},
        ),
        candidate(
            "nvfp4", "nvfp4", 0.865, 1_500_000,
            quality=None, refused=REFUSED, delta={}, slices={}, worst=(), layers=(),
            checks=(Check(name="readout", held=False, finding="the row of <|rel_3|> is zero."),),
            verdicts=verdicts(template=(False, "not scored", "it could not be scored.")),
        ),
        candidate(
            "nf4 (bitsandbytes)", "nf4", 0.866, 3_400_000, checks=(), layers=(),
            drift=drift(0.02, {"close>exact": 9}), verdicts=verdicts(),
            cost=(Cost(engine="transformers", dtype="bfloat16", visits=visits(300, 300_000_000)),),
        ),
    )  # fmt: skip


def comparison() -> Comparison:
    return Comparison(
        date="2026-05-04T10:11:12+00:00",
        version="0.1.0",
        commit=None,
        machine="2 cores of an x86-64 machine, 24 GiB",
        data="runs/shop",
        fingerprint="0123456789abcdef",
        split="test",
        queries=80,
        pairs=1200,
        floors={
            "random": Quality(measures={"nDCG@5": Interval(0.52, 0.48, 0.56), "nDCG@10": Interval(0.6, 0.57, 0.63)}),
            "bm25": Quality(measures={"nDCG@5": Interval(0.71, 0.66, 0.75), "nDCG@10": Interval(0.75, 0.71, 0.79)}),
        },
        thresholds={"exact": 0.8, "close": 0.5},
        thresholds_source="defaults; the checkpoint has none",
        candidates_per_query=64,
        reference=a_reference(),
        floor=drift(0.0002, {}),
        slice_floor={"typo": 0.0007, "brand_excluded": 0.0006, "a|tag": 0.0},
        candidates=candidates(),
    )


def rows_of(comparison: Comparison) -> tuple[System, ...]:
    return (comparison.reference, *comparison.candidates)


@pytest.fixture(scope="session")
def result() -> Comparison:
    """That comparison."""
    return comparison()
