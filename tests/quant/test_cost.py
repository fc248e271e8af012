"""Visits on the tiny checkpoint: real processes that are well, die, hang, are refused and are interrupted."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from rich.console import Console

from gen_rerank import Dataset, Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant.comparison import Cost, Visit
from quant.cost import Subject, add_visit, measure
from quant.measured_process import VisitBudget, VisitOutcome, cache_bytes
from quant.workload import VisitWorkload

QUICK = VisitBudget(seconds=0.3, least_queries=2)
FIGURES = ("start_seconds", "resident_bytes", "pairs_per_second", "p50_seconds", "p95_seconds")


def test_served_change_is_a_high_percentile_of_the_differences_on_the_sample(
    split: Dataset, workload: VisitWorkload
) -> None:
    reference = Distribution(np.eye(11)[np.arange(len(split.judgments)) % 11])
    expected = reference.mean[list(workload.sample)]
    known = [(place % 11) / 10 for place in workload.sample[:3]]
    figures = Visit(start_seconds=1, resident_bytes=1, pairs_per_second=1, p50_seconds=1, p95_seconds=1)
    outcome = VisitOutcome(figures=figures, sample=(known[0], known[1] + 0.25, known[2] - 0.125))
    cost = add_visit(Cost(engine="vllm", dtype="bfloat16"), outcome, expected)
    assert cost.visits == (figures,)
    assert cost.served_change == pytest.approx(0.25)
    assert cost.served_pairs == 3
    many = np.asarray([(place % 11) / 10 for place in workload.sample])
    many[:2] += 0.5, 0.25
    assert len(many) < 200, "the second largest is the 99th percentile"
    cost = add_visit(cost, VisitOutcome(figures=figures, sample=tuple(many)), expected)
    assert (cost.served_change, cost.served_largest) == (pytest.approx(0.25), pytest.approx(0.5))
    assert cost.served_pairs == len(workload.sample)
    later = add_visit(cost, VisitOutcome(figures=figures), None)
    assert later.model_copy(update={"visits": cost.visits}) == cost, "only the visit is new"
    assert len(later.visits) == 3


@pytest.fixture(scope="module")
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def subjects(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    broken = shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("broken") / "model")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    compressed = configured(tiny_checkpoint, broken.parent / "compressed", {"quant_method": "compressed-tensors"})
    return {
        "float32": Subject("float32", tiny_checkpoint, "transformers", dtype="float32"),
        "broken": Subject("broken", broken, "transformers"),
        "compressed": Subject("compressed", compressed, "transformers"),
    }


def configured(checkpoint: Path, folder: Path, quantization: object) -> Path:
    """A copy whose configuration says how its weights are packed; nobody is to load them."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def costs(subjects: dict[str, Subject], workload: VisitWorkload, said: io.StringIO) -> dict[str, Cost]:
    console = Console(file=said, width=300)
    measured = measure(list(subjects.values()), workload, visits=2, budget=QUICK, console=console)
    assert list(measured) == list(subjects.values())
    return {subject.name: cost for subject, cost in measured.items()}


def test_every_visit_is_in_the_result(costs: dict[str, Cost]) -> None:
    cost = costs["float32"]
    assert (cost.engine, cost.dtype, cost.unmeasured, cost.served_change) == ("transformers", "float32", "", None)
    first, second = cost.visits
    assert all(cost.median(field) > 0 for field in FIGURES)
    assert all(2**27 < visit.resident_bytes < 2**32 for visit in cost.visits)
    assert first.start_seconds > 0.5, "libraries were loaded"
    assert first.pairs == second.pairs >= 16, "the first visit decides how much is scored"
    assert first.queries == second.queries >= 2
    assert first.cache_bytes == second.cache_bytes == 0, "vLLM's only"


def test_what_cannot_be_measured_says_why(costs: dict[str, Cost]) -> None:
    assert costs["broken"].visits == costs["compressed"].visits == ()
    assert costs["broken"].unmeasured.startswith("the weights cannot be loaded (")
    assert "\n" not in costs["broken"].unmeasured
    assert costs["compressed"].unmeasured.startswith("transformers unpacks these weights")


def test_a_configuration_may_say_null(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = configured(tiny_checkpoint, tmp_path / "null", None)
    assert Subject("null", folder, "transformers").meaningless == ""


def test_visits_alternate_and_are_told(costs: dict[str, Cost], said: io.StringIO) -> None:
    lines = [line.split(": ", maxsplit=2) for line in said.getvalue().splitlines()]
    # One that failed gets no second visit, so that there are fewer.
    assert [line[:2] for line in lines] == [
        ["visit 1 of 4", "float32, transformers"],
        ["visit 2 of 4", "broken, transformers"],
        ["visit 3 of 3", "float32, transformers"],
    ]
    assert lines[1][2] == costs["broken"].unmeasured
    assert all(
        re.fullmatch(r"[\d,.]+ pairs/s, a query in [\d,]+ ms, [\d,]+ MiB, started in \d+ s", lines[i][2])
        for i in (0, 2)
    )


def test_a_visit_that_hangs_is_stopped(tiny_checkpoint: Path, workload: VisitWorkload) -> None:
    before = set(psutil.Process().children(recursive=True))
    subject = Subject("slow[/v2]", tiny_checkpoint, "transformers")  # a name that is no markup
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=300)
    cost = measure([subject], workload, visits=3, budget=VisitBudget(timeout=0.4), console=console)[subject]
    assert cost.unmeasured == "the visit was not over after 0 s, and was stopped"
    assert screen.getvalue().count("slow[/v2], transformers") >= 2
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_stopped(
    number: signal.Signals, tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    program = (
        "from pathlib import Path; from gen_rerank.data.dataset import judged_split\n"
        "from quant.cost import Subject, measure; from quant.workload import VisitWorkload\n"
        f"split = judged_split(Path({str(tiny_data)!r}), 'test')\n"
        f"tiny = Subject('tiny', Path({str(tiny_checkpoint)!r}), 'transformers')\n"
        "measure([tiny], VisitWorkload.of(split, candidates=16))\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE)
    visits: list[psutil.Process] = []
    while not visits:
        assert parent.poll() is None
        visits = psutil.Process(parent.pid).children(recursive=True)
        time.sleep(0.02)
    time.sleep(1.0)  # into the imports of the visit
    assert list(tmp_path.glob("gen_rerank_*"))
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=60)
    end = time.monotonic() + (1 if number == signal.SIGINT else 30)
    while any(_runs(each) for each in visits) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(_runs(each) for each in visits)
    if number == signal.SIGINT:  # the other cannot be noticed by the one that is stopped
        assert b"KeyboardInterrupt" in errors
        assert not list(tmp_path.glob("gen_rerank_*"))


def _runs(process: psutil.Process) -> bool:
    """Whether it computes still: a zombie waits only for a parent that may never ask."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_vllm_is_visited(tiny_checkpoint: Path, split: Dataset, workload: VisitWorkload) -> None:
    pytest.importorskip("vllm")
    pairs = [split.pair(row) for row in split.judgments]
    expected = {tiny_checkpoint: TransformersScorer(Checkpoint.open(tiny_checkpoint)).score(pairs)}
    served = Subject("served", tiny_checkpoint, "vllm")
    cost = measure([served], workload, visits=1, expected=expected, budget=QUICK)[served]
    assert cost.unmeasured == ""
    assert cost.median("pairs_per_second") > 1
    assert cost.median("resident_bytes") > 2**29, "the engine's processes are counted"
    if not torch.cuda.is_available():
        assert cost.visits[0].cache_bytes == cache_bytes(Checkpoint.open(tiny_checkpoint), "bfloat16")
    assert cost.served_pairs >= 8
    assert cost.served_change is not None
    assert 0 < cost.served_change < 0.05
