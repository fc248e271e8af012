"""Clients of a harmed server: they ask one by one, at random moments or all at once, and compare the answers."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from experiments.scored import ScoredRequest
from experiments.server import Server

PATH = "/v1/rerank"
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 300.0
# How often a load is doubled that a fast machine answers before it can be harmed.
_DOUBLINGS = 3


@dataclass(frozen=True)
class Reply:
    """What became of a request.

    Attributes:
        status: of the response; 0 when there was none.
        seconds: until then.
        difference: of the scores from the offline ones.
        retry_after: the header of a refusal.
    """

    status: int
    seconds: float
    difference: float = 0.0
    retry_after: str | None = None


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client with as many connections as it takes."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS, limits=limits) as client:
        yield client


async def ask(client: httpx.AsyncClient, asked: ScoredRequest) -> Reply:
    """Send a request and compare the answer."""
    started = time.monotonic()
    try:
        response = await client.post(PATH, json=asked.body())
    except httpx.TransportError:
        return Reply(0, time.monotonic() - started)
    seconds = time.monotonic() - started
    if response.status_code != 200:
        return Reply(response.status_code, seconds, retry_after=response.headers.get("retry-after"))
    return Reply(200, seconds, asked.difference(response.json()))


async def one_reply(server: Server, asked: ScoredRequest) -> Reply:
    """Send a request over a connection of its own and compare the answer."""
    async with client_of(server) as client:
        return await ask(client, asked)


async def closed_loop(server: Server, requests: Sequence[ScoredRequest], seconds: float, clients: int = 16) -> float:
    """Return the requests per second that are answered when each client asks again at once."""
    answered, started = 0, time.monotonic()

    async def ask_on(client: httpx.AsyncClient, start: int) -> None:
        nonlocal answered
        for number in itertools.count(start, clients):
            if time.monotonic() >= started + seconds:
                return
            answered += (await ask(client, requests[number % len(requests)])).status == 200

    async with client_of(server) as client:
        await asyncio.gather(*(ask_on(client, start) for start in range(clients)))
    return answered / (time.monotonic() - started)


async def open_loop(server: Server, requests: Sequence[ScoredRequest], rate: float, seconds: float) -> list[Reply]:
    """Ask at random moments, `rate` a second, whether or not earlier requests were answered; return all replies."""
    rng = random.Random(0)
    async with client_of(server) as client:
        tasks, moment, end = [], time.monotonic(), time.monotonic() + seconds
        while (moment := moment + rng.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            tasks.append(asyncio.create_task(ask(client, rng.choice(requests))))
        return await asyncio.gather(*tasks)


@asynccontextmanager
async def under_load(
    server: Server, requests: Sequence[ScoredRequest], clients: int
) -> AsyncIterator[list[asyncio.Task[Reply]]]:
    """Ask many requests at once, and enter the block when the server has read them all with those that still wait.

    A machine that answers them all before that can be seen gets twice as many.
    """
    documents = len(requests[0].products)
    async with client_of(server) as client:
        for doubled in range(_DOUBLINGS):
            before = await asyncio.to_thread(server.pairs_read)
            sent = [asyncio.create_task(ask(client, requests[i % len(requests)])) for i in range(clients << doubled)]
            # A little less, as products that read alike are scored once.
            wanted = before + 0.9 * documents * len(sent)
            assert await until(lambda: server.pairs_read() >= wanted, PATIENCE_SECONDS) < PATIENCE_SECONDS  # noqa: B023
            if waiting := [task for task in sent if not task.done()]:
                break
        yield waiting


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds and return the seconds that it took; infinite when it never did."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if await asyncio.to_thread(condition):
            return time.monotonic() - started
        await asyncio.sleep(POLL_SECONDS)
    return float("inf")
