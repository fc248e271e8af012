"""Killed: the engine's process gets SIGKILL, which no handler can catch, while clients wait."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import httpx

from experiments.clients import Reply, under_load, until
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredTraffic
from experiments.server import NO_CACHE, Server, serving


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Kill the engine's process, which no handler can catch, while clients wait."""
    family = server.tree()

    async def play() -> list[Reply]:
        async with under_load(server, traffic.requests, sizes.clients) as tasks:
            engine = server.engine()
            notes.wanted("requests in flight", len(tasks), "some", bool(tasks))
            engine.send_signal(signal.SIGKILL)
            unhealthy, known, exited = await asyncio.gather(
                until(lambda: _unhealthy(server), 60),
                until(lambda: all(task.done() for task in tasks), 60),
                until(server.exited, 60),
            )
            notes.wanted("seconds until /health fails", unhealthy, "below 10", unhealthy < 10)
            notes.wanted("seconds until the last client knew", known, "below 10", known < 10)
            notes.wanted("seconds until the process ended", exited, "below 60", exited < 60)
            return await asyncio.gather(*tasks)

    replies = asyncio.run(play())
    statuses = Counter(reply.status for reply in replies)
    notes.stated("clients answered 200", statuses[200])
    notes.stated("clients told 5xx", sum(count for status, count in statuses.items() if status >= 500))
    notes.stated("clients whose connection closed", statuses[0])
    if statuses[200]:
        notes.same_scores(replies)
    code = server.process.poll()
    notes.wanted("exit code", str(code), "not 0", code not in (None, 0))
    left = server.processes_left(family)
    notes.wanted("processes left behind", left, "0", not left)


def _unhealthy(server: Server) -> bool:
    try:
        return not httpx.get(f"{server.url}/health", timeout=5).is_success
    except httpx.TransportError:
        return True


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own."""
    with serving(traffic.model, *NO_CACHE) as server:
        harm(notes, server, traffic, sizes)
