"""Shoppers who ask a server again and again, and what its counters say meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Self

import httpx

from harness.server import answered, samples

WINDOWS = 30  # of a replay, each a point of the plot

ANSWERED, CACHED = "gen_rerank_pairs_total", "gen_rerank_cached_pairs_total"
PREFIX_TOKENS, PREFIX_HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
COUNTERS = (ANSWERED, CACHED, PREFIX_TOKENS, PREFIX_HITS)


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
        for sample in samples(text):
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
                answered(await client.post("/v1/rerank", content=next(bodies)))
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
