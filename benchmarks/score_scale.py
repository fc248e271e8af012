"""Whole catalogs scored once: what is lost, what is done twice, memory, speed, and what a second night takes over.

Queries of the sample's generator are paired with products of its catalog. `gen-rerank score` is killed twice with
SIGKILL, at a third and at two thirds of its shards, and goes on each time. Then some products change, some queries go
and others come, and a second run reuses the first. Each step is a process of its own; the plain loop, the same scorer
over pairs in memory, takes its turns before and after.

Run: python benchmarks/score_scale.py --pairs 1000000
"""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import pyarrow.parquet as pq
import typer

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Pair
from gen_rerank.data.sample import make_sample
from gen_rerank.errors import BadInput
from gen_rerank.offline.plan import SHARD_ROWS
from gen_rerank.scorers.opening import open_scorer
from harness.command import run
from harness.own_process import in_own_process
from harness.tables import FigureTable
from harness.this_run import ThisRun

PACKAGES = ("torch", "transformers", "pyarrow", "ray")
MODEL = Path("runs/demo/model")
PLAIN_PAIRS, PART = 20_000, 2048
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Night:
    """One run of the command, with what was seen of it.

    Attributes:
        said: what it printed as JSON.
        memory: the most bytes that its processes held together.
        kills: how often it was killed.
    """

    said: dict[str, Any]
    memory: int
    kills: int


def write_pairs(file: Path, shop: Dataset, pairs: int, seed: int) -> None:
    """Write so many pairs: each query with products drawn for it, none twice."""
    products = list(shop.products.values())
    texts = [json.dumps(one.model_dump(exclude={"product_id"}, exclude_defaults=True)) for one in products]
    queries = list(shop.queries.values())
    each = -(-pairs // len(queries))
    if each > len(products):
        raise BadInput(f"--pairs {pairs:,}: there are only {len(queries) * len(products):,} pairs of the sample")
    left = pairs
    with file.open("w", encoding="utf-8") as out:
        for number, query in enumerate(queries):
            drawn = random.Random(f"{seed} {number}").sample(range(len(products)), min(each, left))
            left -= len(drawn)
            for i in drawn:
                head = {"query_id": query.query_id, "product_id": products[i].product_id, "query": query.text}
                out.write(f'{json.dumps(head)[:-1]}, "product": {texts[i]}}}\n')


def changed(shop: Dataset) -> Dataset:
    """Return the shop of the next night: of 50 products one has another title, of 50 queries one has another text."""
    products = {
        name: one.model_copy(update={"title": f"{one.title}, new"}) if number % 50 == 0 else one
        for number, (name, one) in enumerate(shop.products.items())
    }
    queries = {
        name: one.model_copy(update={"text": f"{one.text} please"}) if number % 50 == 0 else one
        for number, (name, one) in enumerate(shop.queries.items())
    }
    return Dataset(products, queries, ())


def plain_loop(model: Path, file: Path, pairs: int) -> float:
    """Return the pairs a second of the same scorer over pairs in memory; call it in a process of its own."""
    from gen_rerank.data.reading import RowReader
    from gen_rerank.offline.rows import PairRow, product_in_row

    rows = [row for _, row in zip(range(pairs), RowReader(file, PairRow).valid(), strict=False)]
    read = [Pair(row.query or "", product_in_row(row)) for _, row in rows]
    scorer = open_scorer(model)
    scorer.score(read[:PART])
    began = time.perf_counter()
    for first in range(0, len(read), PART):
        scorer.score(read[first : first + PART])
    return len(read) / (time.perf_counter() - began)


def score(words: Sequence[object], out: Path, shards: int, kills: Sequence[float]) -> Night:
    """Run the command; kill it each time when so large a share of the shards is there, and run it again."""
    command = [sys.executable, "-m", "gen_rerank", "score", *map(str, words), "--out", str(out), "--json"]
    memory = 0
    for share in (*kills, 2.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        while process.poll() is None and len(list((out / "scores").glob("*.parquet"))) < share * shards:
            memory = max(memory, held(process.pid))
            time.sleep(_LOOK_SECONDS)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        printed, _ = process.communicate()
        if process.returncode == 0:
            return Night(json.loads(printed), memory, len(kills))
        if process.returncode != -signal.SIGKILL:
            raise BadInput(f"{out}: the run ended with {process.returncode}")
    raise BadInput(f"{out}: the run did not end")


def held(pid: int) -> int:
    """Return the bytes that a process and all that it started hold in memory."""
    total = 0
    try:
        started = psutil.Process(pid)
        for one in (started, *started.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def lost_and_twice(file: Path, out: Path) -> tuple[int, int]:
    """Return how many pairs of a file have no score, and how many have more than one; the scores are read anew."""
    with file.open(encoding="utf-8") as rows:
        given = {(row["query_id"], row["product_id"]) for row in map(json.loads, rows)}
    table = pq.read_table(out / "scores", columns=["query_id", "product_id"])
    found = list(zip(table["query_id"].to_pylist(), table["product_id"].to_pylist(), strict=True))
    return len(given - set(found)), len(found) - len(set(found))


def main(
    pairs: Annotated[int, typer.Option(min=1000, help="How many pairs are scored.")] = 1_000_000,
    model: Annotated[Path, typer.Option(help="A checkpoint; make demo makes this one.")] = MODEL,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    shard_rows: Annotated[int, typer.Option(min=1, help="The most rows of a shard.")] = SHARD_ROWS,
    seed: Annotated[int, typer.Option(help="The same seed makes the same pairs.")] = 0,
) -> None:
    """Print a table of what was found."""
    this_run = in_own_process(ThisRun.now, PACKAGES)
    shop = make_sample(seed)
    with TemporaryDirectory() as made:
        folder = Path(made)
        first, second, tenth = (folder / f"{name}.jsonl" for name in ("first", "second", "tenth"))
        write_pairs(first, shop, pairs, seed)
        write_pairs(second, changed(shop), pairs, seed)
        write_pairs(tenth, shop, pairs // 10, seed)
        shared = ("--engine", engine, "--shard-rows", shard_rows)
        shards = -(-pairs // shard_rows)
        paces = [in_own_process(plain_loop, model, first, min(pairs, PLAIN_PAIRS))]
        small = score((model, tenth, *shared), folder / "tenth", shards, ())
        night = score((model, first, *shared), folder / "monday", shards, (1 / 3, 2 / 3))
        paces.append(in_own_process(plain_loop, model, first, min(pairs, PLAIN_PAIRS)))
        reuse = ("--reuse", folder / "monday")
        next_night = score((model, second, *shared, *reuse), folder / "tuesday", shards, ())
        lost, twice = lost_and_twice(first, folder / "monday")
        disk = sum(file.stat().st_size for file in (folder / "monday" / "scores").iterdir())
        lost_next, twice_next = lost_and_twice(second, folder / "tuesday")
    pace, plain = night.said["pairs_per_second"], statistics.mean(paces)
    reused = next_night.said["reused"] / next_night.said["pairs"]
    rows = [
        ["pairs", f"{night.said['pairs']:,}", f"{next_night.said['pairs']:,}"],
        ["killed", str(night.kills), "0"],
        ["lost", str(lost), str(lost_next)],
        ["twice", str(twice), str(twice_next)],
        ["peak memory, MB", f"{night.memory / 1e6:,.0f}", f"{next_night.memory / 1e6:,.0f}"],
        ["the same of a tenth of the pairs, MB", f"{small.memory / 1e6:,.0f}", "–"],
        ["pairs/s, after the last kill", f"{pace:,.0f}", f"{next_night.said['pairs_per_second']:,.0f}"],
        ["pairs/s of the plain loop, before and after", " and ".join(f"{one:,.0f}" for one in paces), "–"],
        ["pairs/s, × the plain loop", f"{pace / plain:.2f}", "–"],
        ["bytes a pair on disk", f"{disk / night.said['pairs']:,.0f}", "–"],
        ["reused", "–", f"{reused:.1%}"],
        ["earlier scores dropped", "–", f"{next_night.said['dropped']:,}"],
    ]
    caption = f"{this_run.line()}, {this_run.versions}; load before {this_run.load}."
    print(FigureTable("Scoring offline", ("", "first night", "second night"), rows, caption).document())


if __name__ == "__main__":
    run(main)
