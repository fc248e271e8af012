"""A full disk: the server's log cannot be written, and its clients must not notice."""

from __future__ import annotations

import asyncio
import time

from experiments.clients import Reply, ask, client_of
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredTraffic
from experiments.server import Server, serving


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Ask a server whose log is on a full disk."""
    before = server.metric("gen_rerank_log_lines_lost_total")

    async def play() -> list[Reply]:
        async with client_of(server) as client:
            return await asyncio.gather(*(ask(client, asked) for asked in traffic.requests[:50]))

    replies = asyncio.run(play())
    served = sum(reply.status == 200 for reply in replies)
    notes.wanted(f"of {len(replies)} requests, answered", served, "all", served == len(replies))
    notes.same_scores(replies)
    time.sleep(0.5)  # lines are written after the answer, by another thread
    lost = int(server.metric("gen_rerank_log_lines_lost_total") - before)
    notes.wanted("lost lines that were counted", lost, "all", lost == len(replies))


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own."""
    with serving(traffic.model, "--log", "/dev/full") as server:
        harm(notes, server, traffic, sizes)
