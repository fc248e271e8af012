"""The same request alone and amid others: whether what else is in the batch moves orders and scores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import httpx

from experiments.clients import PATH, client_of
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredRequest, ScoredTraffic, scores_of
from experiments.server import NO_CACHE, Server, serving


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Ask the same requests alone, then while random others fill the batches; compare orders and scores.

    Without the caches, which would give back what was computed alone.
    """
    for dtype in ("float32", "bfloat16"):
        with serving(traffic.model, *NO_CACHE, "--", "--no-enable-prefix-caching", dtype=dtype) as server:
            alone, amid = asyncio.run(_twice(server, traffic.requests, sizes.compared))
        changed = sum(top(a) != top(b) for a, b in zip(alone, amid, strict=True))
        largest = max(
            abs(a - b) for one, other in zip(alone, amid, strict=True) for a, b in zip(one, other, strict=True)
        )
        notes.stated(f"{dtype}: of {len(alone)} requests, another top 10 amid others", changed)
        notes.stated(f"{dtype}: largest change of a score", largest)


def top(scores: Sequence[float], most: int = 10) -> list[int]:
    """Return the best documents, ties in their order.

    Example:
        >>> top([0.5, 0.9, 0.5])
        [1, 0, 2]
    """
    return sorted(range(len(scores)), key=lambda i: -scores[i])[:most]


async def _twice(
    server: Server, requests: Sequence[ScoredRequest], compared: int
) -> tuple[list[list[float]], list[list[float]]]:
    chosen = [requests[i % len(requests)] for i in range(compared)]
    rng = random.Random(0)
    done = asyncio.Event()

    async def scores(client: httpx.AsyncClient, asked: ScoredRequest) -> list[float]:
        return scores_of((await client.post(PATH, json=asked.body())).raise_for_status().json())

    async def crowd(client: httpx.AsyncClient) -> None:
        while not done.is_set():
            await scores(client, rng.choice(requests))

    async with client_of(server) as client:
        alone = [await scores(client, asked) for asked in chosen]
        others = [asyncio.create_task(crowd(client)) for _ in range(8)]
        amid = [await scores(client, asked) for asked in chosen]
        done.set()
        await asyncio.gather(*others)
    return alone, amid
