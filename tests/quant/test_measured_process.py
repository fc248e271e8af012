"""What a visit measures, on the tiny checkpoint, in this process: as much as was ordered, and all memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gen_rerank.checkpoints.card import Card, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant.measured_process import VisitBudget, VisitOrder, VisitOutcome, cache_bytes, visit
from quant.workload import RequestCount, VisitWorkload

QUICK = VisitBudget(seconds=0.3, least_queries=2)


def order(folder: Path, workload: VisitWorkload, at: Path, **changes: object) -> VisitOrder:
    """An order for a visit in this process."""
    workload.save(at)
    told = VisitOrder(
        folder=folder, engine="transformers", loaded_as=None, dtype="float32", workload=at,
        available=workload.available, size=None, sample=False, budget=QUICK, started=time.monotonic(),
    )  # fmt: skip
    return told.model_copy(update=changes)


@pytest.mark.parametrize(
    ("query_seconds", "size"),
    [
        (0.01, RequestCount(latency=100, throughput=256)),  # all there is
        (0.2, RequestCount(latency=50, throughput=50)),  # ten seconds of each
        (5.0, RequestCount(latency=8, throughput=2)),  # no fewer than eight
        (40.0, RequestCount(latency=3, throughput=1)),  # but no more than two minutes
    ],
)
def test_size_follows_the_models_speed(query_seconds: float, size: RequestCount) -> None:
    assert VisitBudget().affordable(query_seconds, RequestCount(latency=100, throughput=256)) == size


def test_figures_are_of_what_was_ordered(tiny_checkpoint: Path, workload: VisitWorkload, tmp_path: Path) -> None:
    size = RequestCount(latency=3, throughput=4)
    outcome = visit(order(tiny_checkpoint, workload, tmp_path, size=size, sample=True))
    figures = outcome.figures
    assert figures is not None
    assert outcome.size == size
    assert (figures.queries, figures.pairs) == (3, 4 * 16)
    assert 0 < figures.p50_seconds <= figures.p95_seconds < 10
    assert figures.pairs_per_second > 1
    expected = TransformersScorer(Checkpoint.open(tiny_checkpoint)).score(list(workload.sample_pairs)).mean
    assert len(outcome.sample) >= 8
    np.testing.assert_allclose(outcome.sample, expected[: len(outcome.sample)], atol=1e-6)


def test_a_load_time_row_is_visited(tiny_checkpoint: Path, workload: VisitWorkload, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    plain = visit(order(tiny_checkpoint, workload, tmp_path, sample=True))
    nf4 = visit(order(tiny_checkpoint, workload, tmp_path, sample=True, loaded_as="nf4"))
    assert nf4.figures is not None, nf4.refused
    count = min(len(plain.sample), len(nf4.sample))
    assert plain.sample[:count] != nf4.sample[:count]


def test_a_refusal_is_a_sentence_without_the_folder(
    tiny_checkpoint: Path, workload: VisitWorkload, tmp_path: Path
) -> None:
    missing = visit(order(tmp_path / "nowhere", workload, tmp_path))
    assert missing == VisitOutcome(refused="no such folder")
    slow = visit(order(tiny_checkpoint, workload, tmp_path, budget=VisitBudget(most_seconds=1e-6)))
    assert slow.refused.startswith("too slow to be measured here: a query with 16 candidates would take about ")


def test_the_cache_is_of_the_shape_alone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    # Keys and values of 2 layers and 2 heads of 32, in 2 bytes each.
    token = 2 * 2 * 64 * 2
    assert cache_bytes(Checkpoint.open(tiny_checkpoint), "bfloat16") == 8192 * token
    assert cache_bytes(Checkpoint.open(tiny_checkpoint), "float32") == 2 * 8192 * token
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "long"))
    card = read_card(folder, Card)
    long = card.prompt.model_copy(update={"max_length": 5000})
    card.model_copy(update={"prompt": long}).save(folder)
    assert cache_bytes(Checkpoint.open(folder), "bfloat16") == 10_000 * token


def test_shared_memory_is_counted_once() -> None:
    """A forked child shares 200 MB with its parent: together they have little more than the parent alone."""
    program = (
        "import os, signal; from quant.measured_process import resident_bytes\n"
        "held = bytearray(os.urandom(200 << 20))\n"
        "before = resident_bytes(); child = os.fork()\n"
        "if child == 0: signal.pause()\n"
        "print(before, resident_bytes()); os.kill(child, signal.SIGKILL)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    alone, together = map(int, output.split())
    assert alone > 200 << 20
    assert abs(together - alone) < 30 << 20
