"""What a visit measures, on the tiny checkpoint: real processes that are well, die, hang, are refused and are interrupted."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gen_rerank import BadInput, Dataset, Distribution, Judgment, Product, Query
from gen_rerank.checkpoints.card import Card, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant.comparison import Cost, Visit
from quant.cost import Subject, Workload, _death, _explained, _meaningless, _with, measure
from quant.measured_process import Budget, Order, Outcome, Size, _size, cache_bytes, visit

QUICK = Budget(seconds=0.3, least_queries=2)
CANDIDATES = 16
FIGURES = ("start_seconds", "resident_bytes", "pairs_per_second", "p50_seconds", "p95_seconds")


@pytest.fixture(scope="module")
def split(tiny_shop: Dataset) -> Dataset:
    return tiny_shop.of("test")


@pytest.fixture(scope="module")
def workload(split: Dataset) -> Workload:
    return Workload.of(split, candidates=CANDIDATES)


def order(folder: Path, workload: Workload, at: Path, **changes: object) -> Order:
    """An order for a visit in this process."""
    workload.save(at)
    told = Order(
        folder=folder, engine="transformers", load_time=None, dtype="float32", workload=at,
        available=workload.available, size=None, sample=False, budget=QUICK, started=time.monotonic(),
    )  # fmt: skip
    return told.model_copy(update=changes)


def shop(products: int, texts: list[str], judged: list[tuple[int, int]]) -> Dataset:
    return Dataset(
        {f"p{i}": Product(product_id=f"p{i}", title=f"thing {i}") for i in range(products)},
        {f"q{i}": Query(query_id=f"q{i}", text=text, split="test") for i, text in enumerate(texts)},
        tuple(Judgment(query_id=f"q{q}", product_id=f"p{p}", relevance=1.0) for q, p in judged),
    )


# The workload


@given(
    products=st.integers(2, 30),
    texts=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6),
    candidates=st.integers(2, 12),
    seed=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_no_pair_is_scored_twice(
    products: int, texts: list[str], candidates: int, seed: int, data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(texts) - 1), st.integers(0, products - 1))
    dataset = shop(products, texts, data.draw(st.lists(places, unique=True, min_size=1)))
    try:
        workload = Workload.of(dataset, candidates=candidates, seed=seed)
    except BadInput:
        # Every request takes that many of a text's products, so only this many can be made.
        assert len(set(texts)) * (products // min(candidates, products)) < 3
        return
    requests = [workload.warm_up, *workload.latency, *workload.throughput]
    pairs = [(request.query, product.product_id) for request in requests for product in request.products]
    assert len(set(pairs)) == len(pairs)
    assert {len(request.products) for request in requests} == {min(candidates, products)} == {workload.candidates}
    assert min(len(workload.latency), len(workload.throughput)) >= 1
    assert workload == Workload.of(dataset, candidates=candidates, seed=seed)
    assert [dataset.pair(dataset.judgments[place]) for place in workload.sample] == list(workload.sample_pairs)
    assert len(set(workload.sample)) == len(dataset.judgments)


def test_judged_products_come_first_and_the_others_are_new() -> None:
    dataset = shop(100, ["a", "b", "c", "d", "e"], [(0, 7), (0, 9), (1, 7), (2, 3), (3, 50), (4, 99)])
    workload = Workload.of(dataset, candidates=10)
    first = [workload.warm_up, *workload.latency, *workload.throughput][:5]
    judged = {
        query.text: {row.product_id for row in dataset.judgments if row.query_id == query.query_id}
        for query in dataset.queries.values()
    }
    assert {request.query for request in first} == set(judged), "each query comes once before one comes again"
    others = []
    for request in first:
        ids = [product.product_id for product in request.products]
        assert set(ids[: len(judged[request.query])]) == judged[request.query]
        others += ids[len(judged[request.query]) :]
    assert len(set(others)) == len(others) == 50 - 6


def test_seed_decides_order_products_and_sample(split: Dataset) -> None:
    one, other = (Workload.of(split, candidates=CANDIDATES, seed=seed) for seed in (0, 1))
    assert one.warm_up != other.warm_up
    assert one.sample != other.sample


def test_a_shop_that_is_too_small_is_refused() -> None:
    with pytest.raises(BadInput, match="the split has 2 queries and the catalog 3 products: too few"):
        Workload.of(shop(3, ["a", "b"], [(0, 0)]))


# What a visit scores


@pytest.mark.parametrize(
    ("query_seconds", "size"),
    [
        (0.01, Size(latency=100, throughput=256)),  # all there is
        (0.2, Size(latency=50, throughput=50)),  # ten seconds of each
        (5.0, Size(latency=8, throughput=2)),  # no fewer than eight
        (40.0, Size(latency=3, throughput=1)),  # but no more than two minutes
    ],
)
def test_size_follows_the_models_speed(query_seconds: float, size: Size) -> None:
    assert _size(query_seconds, Budget(), Size(latency=100, throughput=256)) == size


def test_figures_are_of_what_was_ordered(tiny_checkpoint: Path, workload: Workload, tmp_path: Path) -> None:
    size = Size(latency=3, throughput=4)
    outcome = visit(order(tiny_checkpoint, workload, tmp_path, size=size, sample=True))
    figures = outcome.figures
    assert figures is not None
    assert outcome.size == size
    assert (figures.queries, figures.pairs) == (3, 4 * CANDIDATES)
    assert 0 < figures.p50_seconds <= figures.p95_seconds < 10
    assert figures.pairs_per_second > 1
    expected = TransformersScorer(Checkpoint.open(tiny_checkpoint)).score(list(workload.sample_pairs)).mean
    assert len(outcome.sample) >= 8
    np.testing.assert_allclose(outcome.sample, expected[: len(outcome.sample)], atol=1e-6)


def test_a_load_time_row_is_visited(tiny_checkpoint: Path, workload: Workload, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    plain = visit(order(tiny_checkpoint, workload, tmp_path, sample=True))
    nf4 = visit(order(tiny_checkpoint, workload, tmp_path, sample=True, load_time="nf4"))
    assert nf4.figures is not None, nf4.refused
    count = min(len(plain.sample), len(nf4.sample))
    assert plain.sample[:count] != nf4.sample[:count]


def test_a_refusal_is_a_sentence_without_the_folder(tiny_checkpoint: Path, workload: Workload, tmp_path: Path) -> None:
    missing = visit(order(tmp_path / "nowhere", workload, tmp_path))
    assert missing == Outcome(refused="no such folder")
    slow = visit(order(tiny_checkpoint, workload, tmp_path, budget=Budget(most_seconds=1e-6)))
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
        "import os, signal; from quant.measured_process import resident_bytes; held = bytearray(os.urandom(200 << 20))\n"
        "before = resident_bytes(); child = os.fork()\n"
        "if child == 0: signal.pause()\n"
        "print(before, resident_bytes()); os.kill(child, signal.SIGKILL)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    alone, together = map(int, output.split())
    assert alone > 200 << 20
    assert abs(together - alone) < 30 << 20


# What is made of visits


def test_served_change_is_a_high_percentile_of_the_differences_on_the_sample(
    split: Dataset, workload: Workload
) -> None:
    reference = Distribution(np.eye(11)[np.arange(len(split.judgments)) % 11])
    known = [(place % 11) / 10 for place in workload.sample[:3]]
    figures = Visit(start_seconds=1, resident_bytes=1, pairs_per_second=1, p50_seconds=1, p95_seconds=1)
    outcome = Outcome(figures=figures, sample=(known[0], known[1] + 0.25, known[2] - 0.125))
    cost = _with(Cost(engine="vllm", dtype="bfloat16"), outcome, workload, reference)
    assert cost.visits == (figures,)
    assert cost.served_change == pytest.approx(0.25)
    assert cost.served_pairs == 3
    many = np.asarray([(place % 11) / 10 for place in workload.sample])
    many[:2] += 0.5, 0.25
    assert len(many) < 200, "the second largest is the 99th percentile"
    cost = _with(cost, Outcome(figures=figures, sample=tuple(many)), workload, reference)
    assert (cost.served_change, cost.served_largest) == (pytest.approx(0.25), pytest.approx(0.5))
    assert cost.served_pairs == len(workload.sample)
    later = _with(cost, Outcome(figures=figures), workload, None)
    assert later.model_copy(update={"visits": cost.visits}) == cost, "only the visit is new"
    assert len(later.visits) == 3


def test_a_death_is_told_with_its_last_words() -> None:
    assert _death(1, "Traceback\n  File x\nValueError: no\n\n") == "the visit ended with exit code 1 (ValueError: no)"
    assert _death(-signal.SIGKILL, "") == "the visit ended by SIGKILL"


def test_the_cause_is_what_the_engines_process_logged_first() -> None:
    refused = Outcome(
        refused="vLLM cannot open this checkpoint here (Engine core initialization failed. See root cause above. Failed core proc(s): {})"
    )
    log = (
        "Triton is installed, but doesn't include CPU backend. Disabling Triton.\n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953]     raise ValueError(\n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953] ValueError: No kernel for it. Reasons: \n"
        "(Worker pid=16) ERROR 11-22 08:20:19 [multiproc_executor.py:953] \n"
        "(EngineCore pid=11) ERROR 11-22 08:20:24 [core.py:1510] Exception: WorkerProc initialization failed.\n"
    )
    assert _explained(refused, log) == Outcome(refused="vLLM cannot open this checkpoint here (No kernel for it)")
    assert _explained(refused, "killed") == refused
    assert _explained(Outcome(refused="no such folder"), log) == Outcome(refused="no such folder")


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
def costs(subjects: dict[str, Subject], workload: Workload, said: io.StringIO) -> dict[str, Cost]:
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
    assert first.pairs == second.pairs >= CANDIDATES, "the first visit decides how much is scored"
    assert first.queries == second.queries >= 2
    assert first.cache_bytes == second.cache_bytes == 0, "vLLM's only"


def test_what_cannot_be_measured_says_why(costs: dict[str, Cost]) -> None:
    assert costs["broken"].visits == costs["compressed"].visits == ()
    assert costs["broken"].unmeasured.startswith("the weights cannot be loaded (")
    assert "\n" not in costs["broken"].unmeasured
    assert costs["compressed"].unmeasured.startswith("transformers unpacks these weights")


def test_a_configuration_may_say_null(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = configured(tiny_checkpoint, tmp_path / "null", None)
    assert _meaningless(Subject("null", folder, "transformers")) == ""


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


def test_a_visit_that_hangs_is_stopped(tiny_checkpoint: Path, workload: Workload) -> None:
    before = set(psutil.Process().children(recursive=True))
    subject = Subject("slow[/v2]", tiny_checkpoint, "transformers")  # a name that is no markup
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=300)
    cost = measure([subject], workload, visits=3, budget=Budget(timeout=0.4), console=console)[subject]
    assert cost.unmeasured == "the visit was not over after 0 s, and was stopped"
    assert screen.getvalue().count("slow[/v2], transformers") >= 2
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_stopped(
    number: signal.Signals, tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    program = (
        "from pathlib import Path; from gen_rerank.data.records import judged_split\n"
        "from quant.cost import Subject, Workload, measure\n"
        f"split = judged_split(Path({str(tiny_data)!r}), 'test')\n"
        f"measure([Subject('tiny', Path({str(tiny_checkpoint)!r}), 'transformers')], Workload.of(split, candidates=16))\n"
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


def test_vllm_is_visited(tiny_checkpoint: Path, split: Dataset, workload: Workload) -> None:
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
