"""Told to stop: SIGTERM while requests are in flight, and clients that go on asking."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

from experiments.clients import POLL_SECONDS, Reply, ask, client_of, under_load
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredTraffic
from experiments.server import NO_CACHE, Server, serving


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Send SIGTERM while requests are in flight, and go on asking."""
    family = server.tree()

    async def play() -> tuple[list[Reply], list[Reply]]:
        async with under_load(server, traffic.requests, sizes.clients) as tasks, client_of(server) as client:
            notes.wanted("requests in flight", len(tasks), "some", bool(tasks))
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            late = []
            while not server.exited() and time.monotonic() - started < 120:
                late.append(await ask(client, traffic.requests[0]))
                await asyncio.sleep(POLL_SECONDS)
            took = time.monotonic() - started
            notes.wanted("seconds until the process ended", took, "below 90", server.exited() and took < 90)
            return await asyncio.gather(*tasks), late

    answered, late = asyncio.run(play())
    served = sum(reply.status == 200 for reply in answered)
    notes.wanted("in flight and answered", served, "all", served == len(answered))
    notes.same_scores(answered)
    statuses = Counter(reply.status for reply in late)
    notes.stated("later requests refused 503", statuses[503])
    notes.stated("later requests, connection refused", statuses[0])
    others = statuses.total() - statuses[503] - statuses[0]
    notes.wanted("later requests answered otherwise", others, "0", others == 0)
    code = server.process.poll()
    notes.wanted("exit code", str(code), "0", code == 0)
    left = server.processes_left(family)
    notes.wanted("processes left behind", left, "0", not left)


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own."""
    with serving(traffic.model, *NO_CACHE) as server:
        harm(notes, server, traffic, sizes)
