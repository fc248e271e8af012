"""A shop's traffic played against the real server: what the caches hold, and what load does to latency.

Shoppers ask popular queries again and again, and popular products are candidates of many of them: both follow Zipf's
law here. A query has the same candidates whenever it is asked, as a search engine would give them. A replay begins with
empty caches and shows over time how many pairs are answered and how many of them came from a cache; then, for each
number of clients and of candidates, a catalogue that the server has not seen is played for some seconds. Clients ask
again as soon as they are answered. The load generator is one thread of this process, whose share of a core is printed:
it is taken from the server's.

With `--presets`, also what a pair costs with the encoder presets at random weights, batched, in the engine that the
server uses.

Run: python benchmarks/replay.py --out runs/replay.json --markdown runs/replay.md --plots docs
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from tokenizers import Tokenizer

from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.errors import BadInput
from gen_rerank.system.server import start_server
from harness.command import run
from harness.models import make_model
from harness.server import NO_DEADLINE
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from harness.timing import percentiles
from harness.traffic import RequestMaker, Settings
from replay_parts.encoders import EncoderCost, measure_encoder
from replay_parts.playing import Cell, play
from replay_parts.zipf import ZipfShop, ZipfTraffic

# The longest request that the grid makes must fit into the queue as often as there are clients.
SERVER = (*NO_DEADLINE, "--max-queued-pairs", "200000")
FIRST_CLIENTS, FIRST_CANDIDATES = 8, 64
ENCODER_SETTINGS = Settings("nano", seconds=20.0, requests=50)


@dataclass(frozen=True)
class Replay:
    """The traffic of a shop and where it is played.

    Attributes:
        shop: whose traffic it is.
        settings: of its texts.
        tokenizer: of the model that is asked.
        seed: decides the traffic, with the number of a cell.
        console: where each cell is printed.
    """

    shop: ZipfShop
    settings: Settings
    tokenizer: Tokenizer
    seed: int
    console: Console

    def cell(self, url: str, number: int, clients: int, candidates: int, seconds: float) -> Cell:
        """Play a catalogue that the server has not seen."""
        seed = self.seed * 1000 + number
        traffic = ZipfTraffic(self.shop, RequestMaker(self.tokenizer, self.settings, seed), seed)
        found = asyncio.run(play(url, traffic.bodies(candidates), clients, candidates, seconds))
        self.console.print(f"{clients} clients, {candidates} candidates: {found.pairs_per_second:,.0f} pairs/s")
        return found


GRID_HEADER = (
    "clients",
    "candidates",
    "pairs/s",
    "requests",
    "p50 s",
    "p95 s",
    "p99 s",
    "score cache",
    "prefix cache",
    "load generator",
)
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


def encoder_rows(encoders: Sequence[EncoderCost]) -> list[list[str]]:
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


def tables_of(shop: ZipfShop, cells: Sequence[Cell], encoders: Sequence[EncoderCost]) -> list[FigureTable]:
    """Return the grid and the encoders as tables."""
    measured = ENCODER_SETTINGS
    return [
        FigureTable(
            "Replay on the nano model: the first row over time, then each cell with a catalogue of its own",
            GRID_HEADER,
            grid_rows(cells),
            f"{shop.products:,} products of {shop.product_tokens} tokens, {shop.queries:,} queries of "
            f"{shop.query_tokens}, Zipf {shop.alpha:g}. Score cache: pairs answered from it. Prefix cache: of the "
            "tokens of the other pairs' prompts, those that it held. Load generator: its share of a core.",
        ),
        FigureTable(
            "Encoder presets, random weights, offline",
            ENCODER_HEADER,
            encoder_rows(encoders),
            f"{measured.candidates} products of {measured.product_tokens} tokens and a query of "
            f"{measured.query_tokens} a request; float32.",
        ),
    ]


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
    products: Annotated[int, typer.Option(help="of the catalogue", min=1)] = ZipfShop.products,
    queries: Annotated[int, typer.Option(help="different ones", min=1)] = ZipfShop.queries,
    alpha: Annotated[float, typer.Option(help="Zipf's exponent, of queries and products", min=0.0)] = ZipfShop.alpha,
    seed: Annotated[int, typer.Option(help="decides the traffic")] = 0,
    presets: Annotated[str, typer.Option(help="encoder presets to measure, with commas between")] = "micro",
    out: Annotated[Path | None, typer.Option(help="where to write the figures as JSON")] = None,
    markdown: Annotated[Path | None, typer.Option(help="where to write the tables for a document")] = None,
    plots: Annotated[Path | None, typer.Option(help="the folder for serving-replay.png and serving-load.png")] = None,
) -> None:
    """Play the traffic and print tables."""
    shop = ZipfShop(products, queries, alpha)
    grid = [(c, n) for n in numbers(candidates, "--candidates") for c in numbers(clients, "--clients")]
    if max(n for _, n in grid) > products:
        raise BadInput(f"--candidates: a catalogue of {products} products (--products) has no more than that")
    console, about = wide_console(130), ThisRun.now()
    settings = Settings("nano", FIRST_CANDIDATES, shop.product_tokens, shop.query_tokens)
    with TemporaryDirectory(prefix="gen_rerank_") as folder:
        model = make_model(settings, Path(folder))
        replay = Replay(shop, settings, read_tokenizer(model), seed, console)
        with start_server(model, *SERVER) as url:
            first = replay.cell(url, 0, FIRST_CLIENTS, FIRST_CANDIDATES, replay_seconds)
            cells = [replay.cell(url, i, c, n, seconds) for i, (c, n) in enumerate(grid, start=1)]
        names = [name.strip() for name in presets.split(",") if name.strip()]
        encoders = [measure_encoder(name, Path(folder) / name, ENCODER_SETTINGS) for name in names]
    tables = tables_of(shop, [first, *cells], encoders)
    for table in tables:
        table.show(console)
    if markdown:
        parts = [about.heading(), *(table.document() for table in tables if table.rows)]
        markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if out:
        found = {**asdict(about), "shop": asdict(shop), "replay": asdict(first), "cells": list(map(asdict, cells))}
        found["encoders"] = [asdict(each) | {"milliseconds": each.milliseconds} for each in encoders]
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if plots:
        from replay_parts.pictures import draw_load, draw_replay

        plots.mkdir(parents=True, exist_ok=True)
        draw_replay(first, plots)
        draw_load(cells, plots)


if __name__ == "__main__":
    run(main)
