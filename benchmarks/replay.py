"""A shop's traffic played against the real server: what the caches hold, and what load does to latency.

Shoppers ask popular queries again and again, and popular products are candidates of many of them: both follow Zipf's law here. A query
has the same candidates whenever it is asked, as a search engine would give them. A replay begins with empty caches and shows over
time how many pairs are answered and how many of them came from a cache; then, for each number of clients and of candidates, a
catalogue that the server has not seen is played for some seconds. Clients ask again as soon as they are answered. The load
generator is one thread of this process, whose share of a core is printed: it is taken from the server's.

With `--presets`, also what a pair costs with the encoder presets at random weights, batched, in the engine that the server uses.

Run: python benchmarks/replay.py --out runs/replay.json --markdown runs/replay.md --plots docs
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Self

import httpx
import numpy as np
import numpy.typing as npt
import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from serving import (
    NANO,
    Settings,
    Workload,
    about_this_run,
    make_model,
    markdown_table,
    percentiles,
    rich_table,
    single_words,
    timed,
)

from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.system.server import start_server

WINDOWS = 30  # of a replay, each a point of the plot

ANSWERED, CACHED = "gen_rerank_pairs_total", "gen_rerank_cached_pairs_total"
PREFIX_TOKENS, PREFIX_HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
COUNTERS = (ANSWERED, CACHED, PREFIX_TOKENS, PREFIX_HITS)

# The longest request that the grid makes must fit into the queue as often as there are clients.
SERVER = ("--deadline", "1000000", "--max-queued-pairs", "200000")

PUBLISHED_VOCABULARY = 50_368


@dataclass(frozen=True)
class Shop:
    """What is asked for.

    Attributes:
        products: of the catalogue.
        queries: different ones.
        alpha: the popularity of the n-th is proportional to n to the power of minus this.
        product_tokens: of each product.
        query_tokens: of each query.
    """

    products: int = 10_000
    queries: int = 2_000
    alpha: float = 1.0
    product_tokens: int = 40
    query_tokens: int = 6


class Traffic:
    """Requests of one shop, one after the other.

    Args:
        shop: sizes and popularity.
        workload: makes the texts.
        seed: decides who asks what, and which products answer it.
    """

    def __init__(self, shop: Shop, workload: Workload, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._titles = [workload.product().title for _ in range(shop.products)]
        self._queries = [workload.text(shop.query_tokens) for _ in range(shop.queries)]
        self._popularity = zipf(shop.queries, shop.alpha)
        self._ranker = Ranker(zipf(shop.products, shop.alpha), seed)

    def bodies(self, candidates: int) -> Iterator[bytes]:
        """Return the bodies of requests without end."""
        while True:
            for query in self._random.choice(len(self._queries), 1024, p=self._popularity).tolist():
                documents = [self._titles[product] for product in self._ranker.candidates(query, candidates)]
                yield json.dumps({"query": self._queries[query], "documents": documents, "top_n": 10}).encode()


class Ranker:
    """Which products a query finds: popular ones more often, and the same whenever it is asked.

    Args:
        popularity: of each product, summing to one.
        seed: with the query's number, decides.
    """

    def __init__(self, popularity: npt.NDArray[np.float64], seed: int) -> None:
        self._logarithms, self._seed = np.log(popularity), seed

    def candidates(self, query: int, number: int) -> list[int]:
        """Return the products of a query, best first: drawn one after the other by popularity, none twice."""
        noise = np.random.default_rng((self._seed, query)).gumbel(size=len(self._logarithms))
        best: list[int] = np.argsort(-(self._logarithms + noise))[:number].tolist()
        return best


def zipf(number: int, alpha: float) -> npt.NDArray[np.float64]:
    """Return the probability of each rank.

    Example:
        >>> zipf(2, 1.0).round(3).tolist()
        [0.667, 0.333]
    """
    weights: npt.NDArray[np.float64] = np.power(np.arange(1.0, number + 1), -alpha)
    weights /= weights.sum()
    return weights


@dataclass(frozen=True)
class Counts:
    """The server's counters at a moment, or what was added to them between two.

    Attributes:
        seconds: when, or how long.
        pairs: answered.
        cached: of these, from the score cache.
        prefix_tokens: of the prompts that the engine got.
        prefix_hits: of these, held by the prefix cache.
    """

    seconds: float
    pairs: float
    cached: float
    prefix_tokens: float
    prefix_hits: float

    @classmethod
    def parse(cls, text: str, seconds: float) -> Self:
        """Read the text of /metrics; what was never counted is zero."""
        sums = dict.fromkeys(COUNTERS, 0.0)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in sums:
                    sums[sample.name] += sample.value
        return cls(seconds, *(sums[name] for name in COUNTERS))

    def since(self, earlier: Counts) -> Counts:
        """Return what was added."""
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))

    @property
    def score_hits(self) -> float:
        """The share of pairs that the score cache answered."""
        return self.cached / self.pairs if self.pairs else 0.0

    @property
    def prefix_share(self) -> float:
        """The share of the engine's tokens that the prefix cache held."""
        return self.prefix_hits / self.prefix_tokens if self.prefix_tokens else 0.0


@dataclass(frozen=True)
class Cell:
    """What one number of clients and of candidates did.

    Attributes:
        clients: asking at the same time.
        candidates: of each request.
        latencies: seconds of each request.
        counted: the server's counters, from the first request to the end of the last.
        generator: the share of a core that the load generator took.
        over_time: what was added to the counters, window by window.
    """

    clients: int
    candidates: int
    latencies: tuple[float, ...]
    counted: Counts
    generator: float
    over_time: tuple[Counts, ...]

    @property
    def pairs_per_second(self) -> float:
        """Answered by the server, from cache or engine."""
        return self.counted.pairs / self.counted.seconds


@dataclass(frozen=True)
class Encoder:
    """What a pair costs with one encoder preset.

    Attributes:
        preset: its name.
        parameters: of the model.
        candidates: pairs of a request.
        latencies: seconds of each request.
    """

    preset: str
    parameters: int
    candidates: int
    latencies: tuple[float, ...]

    @property
    def milliseconds(self) -> float:
        """Of a pair, in the median request."""
        return 1000 * median(self.latencies) / self.candidates


async def play(url: str, bodies: Iterator[bytes], clients: int, candidates: int, seconds: float) -> Cell:
    """Let clients ask for some seconds, and wait for the last answers.

    Raises:
        RuntimeError: the server refused a request.
    """
    latencies: list[float] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
        started, own = time.perf_counter(), time.process_time()

        async def ask() -> None:
            while time.perf_counter() - started < seconds:
                begun = time.perf_counter()
                answer = await client.post("/v1/rerank", content=next(bodies))
                if not answer.is_success:
                    raise RuntimeError(f"the server answered {answer.status_code}: {answer.text[:200]}")
                latencies.append(time.perf_counter() - begun)

        async def count() -> Counts:
            answer = await client.get("/metrics")
            return Counts.parse(answer.text, time.perf_counter() - started)

        moments = [await count()]
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask()) for _ in range(clients)]
            while not all(task.done() for task in asking):
                await asyncio.wait(asking, timeout=seconds / WINDOWS)
                moments.append(await count())
        wall = time.perf_counter() - started
        generator = (time.process_time() - own) / wall
    over_time = tuple(later.since(earlier) for earlier, later in pairwise(moments))
    return Cell(clients, candidates, tuple(latencies), moments[-1].since(moments[0]), generator, over_time)


def measure_encoder(preset: str, folder: Path, settings: Settings) -> Encoder:
    """Return what a pair costs with a preset at random weights, in the server's engine and its dtype.

    Raises:
        BadInput: there is no such preset.
    """
    from gen_rerank.scorers.vllm import VllmScorer

    parameters = make_encoder(preset, folder, settings)
    checkpoint = Checkpoint.open(folder)
    workload = Workload(checkpoint.tokenizer, settings, seed=0)
    with VllmScorer(checkpoint) as scorer:
        scorer.score(workload.fresh())
        latencies = timed(scorer.score, iter(workload.fresh, None), settings)
    return Encoder(preset, parameters, settings.candidates, tuple(latencies))


def make_encoder(preset: str, folder: Path, settings: Settings) -> int:
    """Write a preset's ModernBERT with random weights and the published vocabulary's size, and return its parameters.

    Its tokenizer knows the words of this benchmark, each as one token.

    Raises:
        BadInput: there is no such preset.
    """
    import torch
    from transformers import ModernBertForSequenceClassification

    from train.encoder import EncoderRecipe
    from train.encoder_bases import SPECIAL, pair_tokenizer
    from train.tokenizer import word_tokenizer

    spec = PromptSpec(
        template="encoder",
        max_length=512,
        budgets={"title": settings.product_tokens, "query": settings.query_tokens},
    )
    words = single_words(read_tokenizer(NANO))
    tokenizer = pair_tokenizer(word_tokenizer(words, PUBLISHED_VOCABULARY, SPECIAL), spec.max_length)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    torch.manual_seed(0)
    config = EncoderRecipe.load(preset).shape.config(PUBLISHED_VOCABULARY, **special)
    model = ModernBertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Card(readout=Readout.classifier(), prompt=spec).save(folder)
    return sum(parameter.numel() for parameter in model.parameters())


GRID_HEADER = (
    "clients", "candidates", "pairs/s", "requests", "p50 s", "p95 s", "p99 s", "score cache", "prefix cache", "load generator",
)  # fmt: skip
ENCODER_HEADER = ("encoder", "parameters", "ms a pair", "pairs/s", "p50 s", "p95 s", "requests")


def grid_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Return the table's rows, under `GRID_HEADER`."""
    return [
        [
            str(cell.clients),
            f"{cell.candidates:,}",
            f"{cell.pairs_per_second:,.0f}",
            f"{len(cell.latencies):,}",
            *(f"{seconds:.3f}" for seconds in percentiles(cell.latencies)),
            f"{cell.counted.score_hits:.0%}",
            f"{cell.counted.prefix_share:.0%}",
            f"{cell.generator:.0%}",
        ]
        for cell in cells
    ]


def encoder_rows(encoders: Sequence[Encoder]) -> list[list[str]]:
    """Return the table's rows, under `ENCODER_HEADER`."""
    return [
        [
            each.preset,
            f"{each.parameters / 1e6:.1f}M",
            f"{each.milliseconds:.2f}",
            f"{1000 / each.milliseconds:,.0f}",
            *(f"{seconds:.3f}" for seconds in percentiles(each.latencies)[:2]),
            str(len(each.latencies)),
        ]
        for each in encoders
    ]


def draw(first: Cell, cells: Sequence[Cell], folder: Path) -> None:
    """Write serving-replay.png (a replay over time) and serving-load.png (the grid)."""
    from matplotlib.figure import Figure

    usual = median(counts.seconds for counts in first.over_time)
    windows = [counts for counts in first.over_time if counts.seconds > usual / 2]  # the last one may be a moment
    times = np.cumsum([counts.seconds for counts in windows])
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.plot(times, [counts.pairs / counts.seconds for counts in windows])
    above.set(ylabel="pairs/s", ylim=(0, None), title=f"{first.clients} clients, {first.candidates} candidates")
    below.plot(times, [100 * counts.score_hits for counts in windows], label="pairs from the score cache")
    below.plot(times, [100 * counts.prefix_share for counts in windows], label="tokens from the prefix cache")
    below.set(xlabel="seconds since the start", ylabel="%", ylim=(0, 100))
    below.legend(frameon=False)
    figure.savefig(folder / "serving-replay.png", dpi=100)

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for candidates in sorted({cell.candidates for cell in cells}):
        row = [cell for cell in cells if cell.candidates == candidates]
        clients = [cell.clients for cell in row]
        left.plot(clients, [cell.pairs_per_second for cell in row], marker="o", label=f"{candidates:,} candidates")
        right.plot(clients, [percentiles(cell.latencies)[1] for cell in row], marker="o")
    left.set(xlabel="clients", ylabel="pairs/s", xscale="log", ylim=(0, None))
    left.legend(frameon=False, fontsize="small")
    right.set(xlabel="clients", ylabel="p95 of a request, s", xscale="log", yscale="log")
    for panel in (left, right):
        panel.set_xticks(sorted({cell.clients for cell in cells}))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.minorticks_off()
    figure.savefig(folder / "serving-load.png", dpi=100)


def numbers(given: str, option: str) -> list[int]:
    """Return the numbers in a list with commas between.

    Raises:
        BadInput: there is something else in it.
    """
    parts = given.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise BadInput(f"{option} {given}: give positive numbers with commas between, as in 1,8,64")
    return [int(part) for part in parts]


def main(
    clients: Annotated[str, typer.Option(help="numbers of clients")] = "1,4,16,64",
    candidates: Annotated[str, typer.Option(help="numbers of candidates")] = "16,64,256,1024",
    seconds: Annotated[float, typer.Option(help="of each cell of the grid", min=1.0)] = 15.0,
    replay_seconds: Annotated[float, typer.Option(help="of the replay over time", min=2.0)] = 60.0,
    products: Annotated[int, typer.Option(help="of the catalogue", min=1)] = Shop.products,
    queries: Annotated[int, typer.Option(help="different ones", min=1)] = Shop.queries,
    alpha: Annotated[float, typer.Option(help="Zipf's exponent, of queries and products", min=0.0)] = Shop.alpha,
    seed: Annotated[int, typer.Option(help="decides the traffic")] = 0,
    presets: Annotated[str, typer.Option(help="encoder presets to measure, with commas between")] = "micro",
    out: Annotated[Path | None, typer.Option(help="where to write the figures as JSON")] = None,
    markdown: Annotated[Path | None, typer.Option(help="where to write the tables for a document")] = None,
    plots: Annotated[Path | None, typer.Option(help="the folder for serving-replay.png and serving-load.png")] = None,
) -> None:
    """Play the traffic and print tables."""
    shop = Shop(products, queries, alpha)
    grid = [(c, n) for n in numbers(candidates, "--candidates") for c in numbers(clients, "--clients")]
    if max(n for _, n in grid) > products:
        raise BadInput(
            f"--candidates: a catalogue of {products} products (--products) has no more candidates than that"
        )
    console = Console(width=max(130, Console().width))
    about = about_this_run()
    settings = Settings("nano", 64, shop.product_tokens, shop.query_tokens)
    with TemporaryDirectory(prefix="gen_rerank_") as folder:
        model = make_model(settings, Path(folder))
        tokenizer = Checkpoint.open(model).tokenizer

        def cell(url: str, number: int, clients: int, candidates: int, seconds: float) -> Cell:
            traffic = Traffic(shop, Workload(tokenizer, settings, seed * 1000 + number), seed * 1000 + number)
            found = asyncio.run(play(url, traffic.bodies(candidates), clients, candidates, seconds))
            console.print(f"{clients} clients, {candidates} candidates: {found.pairs_per_second:,.0f} pairs/s")
            return found

        with start_server(model, *SERVER) as url:
            first = cell(url, 0, 8, 64, replay_seconds)
            cells = [cell(url, i, c, n, seconds) for i, (c, n) in enumerate(grid, start=1)]
        measured = Settings("nano", seconds=20.0, requests=50)
        names = [name.strip() for name in presets.split(",") if name.strip()]
        encoders = [measure_encoder(name, Path(folder) / name, measured) for name in names]
    tables = [
        (
            "Replay on the nano model: the first row over time, then each cell with a catalogue of its own",
            f"{shop.products:,} products of {shop.product_tokens} tokens, {shop.queries:,} queries of {shop.query_tokens}, Zipf {shop.alpha:g}. "
            "Score cache: pairs answered from it. Prefix cache: of the tokens of the other pairs' prompts, those that it held. "
            "Load generator: its share of a core.",
            GRID_HEADER,
            grid_rows([first, *cells]),
        ),
        (
            "Encoder presets, random weights, offline",
            f"{measured.candidates} products of {measured.product_tokens} tokens and a query of {measured.query_tokens} a request; float32.",
            ENCODER_HEADER,
            encoder_rows(encoders),
        ),
    ]
    for title, caption, header, rows in tables:
        if rows:
            console.print(rich_table(title, caption, header, rows))
    if markdown:
        parts = [f"{about['date']}, {about['machine']}; {about['versions']}. Load before: {about['load']}. Command:"]
        parts.append(f"    {about['command']}")
        parts += [f"{markdown_table(header, rows)}\n\n{caption}" for _, caption, header, rows in tables if rows]
        markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if out:
        found = {**about, "shop": asdict(shop), "replay": asdict(first), "cells": [asdict(each) for each in cells]}
        found["encoders"] = [asdict(each) | {"milliseconds": each.milliseconds} for each in encoders]
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if plots:
        plots.mkdir(parents=True, exist_ok=True)
        draw(first, cells, plots)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
