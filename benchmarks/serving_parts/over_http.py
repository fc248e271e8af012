"""Our server, asked over HTTP: by one client, and by as many as keep it busy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair
from gen_rerank.scorers.engine_plan import plan
from gen_rerank.system.server import start_server
from harness.models import make_model
from harness.server import NO_DEADLINE, answered
from harness.timing import timed
from harness.traffic import WARM_UP_PAIRS, RequestMaker, Requests, Settings
from serving_parts.arithmetic import PrefixCache, request_flops
from serving_parts.turns import HTTP, SATURATED, TimedRow, Turn

CLIENTS = 2  # a request of 64 pairs fills the engine's batches; the second one is ready when the first ends


def http_rows(turn: Turn, settings: Settings, folder: Path) -> list[TimedRow]:
    """Return the rows of our server: one client, and as many as keep it busy."""
    model = make_model(settings, folder)
    checkpoint = Checkpoint.open(model)
    maker = RequestMaker(checkpoint.tokenizer, settings, turn.visit)
    one, many = Requests(maker.fresh), Requests(maker.fresh)
    chosen = () if settings.compiled is None else ("--compile" if settings.compiled else "--no-compile",)
    with (
        start_server(model, *NO_DEADLINE, *chosen) as url,
        httpx.Client(base_url=url, timeout=None) as client,
    ):

        def ask(pairs: list[Pair]) -> None:
            rerank(client, pairs)

        ask(maker.fresh(WARM_UP_PAIRS))
        alone = timed(ask, iter(one), settings)
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            lists = list(pool.map(lambda _: timed(ask, iter(many), settings), range(CLIENTS)))
        wall = time.perf_counter() - start
    cache = PrefixCache(plan(checkpoint, settings.choices).arguments()["block_size"])
    flops = [request_flops(checkpoint, asked.made, cache) for asked in (one, many)]
    together = tuple(seconds for latencies in lists for seconds in latencies)
    return [
        TimedRow(HTTP, turn.visit, settings.candidates, 1, tuple(alone), sum(alone), flops[0]),
        TimedRow(SATURATED, turn.visit, settings.candidates, CLIENTS, together, wall, flops[1], f"{CLIENTS} clients"),
    ]


def rerank(client: httpx.Client, pairs: Sequence[Pair]) -> list[float]:
    """Ask the server about the candidates of one query and return their scores, in order.

    Raises:
        RuntimeError: it answered something else.
    """
    body = {"query": pairs[0].query, "documents": [pair.product.title for pair in pairs]}
    answer = answered(client.post("/v1/rerank", json=body))
    scores = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [scores[i] for i in range(len(pairs))]
