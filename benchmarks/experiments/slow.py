"""Slow clients: bodies are sent byte by byte while others ask."""

from __future__ import annotations

import asyncio
import time

from experiments.clients import PATH, POLL_SECONDS, Reply, ask, client_of
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredTraffic
from experiments.server import Server, serving
from harness.timing import percentiles


async def _slow_client(server: Server, seconds: float) -> tuple[bytes, float]:
    """Send a body byte by byte; return the response's status line and the seconds until it came."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    started = time.monotonic()
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    while not answer.done() and time.monotonic() - started < seconds:
        writer.write(b"{")
        await asyncio.wait({answer}, timeout=0.1)
    line = await answer if answer.done() else b""
    writer.close()
    return line, time.monotonic() - started


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Send bodies byte by byte while others ask."""

    async def play() -> tuple[list[tuple[bytes, float]], list[Reply]]:
        slow = asyncio.gather(*(_slow_client(server, sizes.body_seconds + 10) for _ in range(sizes.slow)))
        replies: list[Reply] = []
        async with client_of(server) as client:
            while not slow.done():
                replies.append(await ask(client, traffic.requests[len(replies) % len(traffic.requests)]))
                await asyncio.sleep(POLL_SECONDS)
        return await slow, replies

    slow, others = asyncio.run(play())
    timed_out = sum(b" 408 " in line for line, _ in slow)
    latest = max(seconds for _, seconds in slow)
    notes.wanted(f"of {sizes.slow} slow clients, told 408", timed_out, "all", timed_out == sizes.slow)
    notes.wanted("seconds until the last was", latest, f"near {sizes.body_seconds:g}", latest < sizes.body_seconds + 2)
    served = sum(reply.status == 200 for reply in others)
    notes.wanted(f"of {len(others)} others meanwhile, answered", served, "all", served == len(others))
    notes.stated("seconds until they were answered, p99", percentiles([reply.seconds for reply in others])[2])
    notes.same_scores(others)


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own."""
    with serving(traffic.model, "--body-timeout", str(sizes.body_seconds)) as server:
        harm(notes, server, traffic, sizes)
