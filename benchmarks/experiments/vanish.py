"""Vanishing clients: they send whole requests and leave; what they asked for must be dropped."""

from __future__ import annotations

import asyncio
import json
import time

from experiments.clients import PATH, closed_loop, one_reply, until
from experiments.finding import Notes, Sizes
from experiments.scored import ScoredRequest, ScoredTraffic
from experiments.server import NO_CACHE, Server, serving


async def _leave(server: Server, asked: ScoredRequest) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(asked.body()).encode()
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Send whole requests and leave; what they asked for must be dropped."""
    requests = traffic.requests
    able = asyncio.run(closed_loop(server, requests, 5))

    async def play() -> float:
        await asyncio.gather(*(_leave(server, requests[i % len(requests)]) for i in range(sizes.vanishing)))
        return await until(lambda: server.pairs_inside() == 0, 120)

    before = server.metric("gen_rerank_requests_total", status="499")
    freed = asyncio.run(play())
    time.sleep(0.5)  # a request is recorded just after its place is free
    left = int(server.metric("gen_rerank_requests_total", status="499") - before)
    notes.wanted(f"of {sizes.vanishing} clients that left, gone before their answer", left, "some", left > 0)
    notes.stated("seconds that their work would have taken", sizes.vanishing / able)
    notes.wanted("seconds until nothing waits or runs", freed, "below 10", freed < 10)
    reply = asyncio.run(one_reply(server, requests[0]))
    notes.wanted("status of the next request", reply.status, "200", reply.status == 200)
    notes.same_scores([reply])


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own."""
    with serving(traffic.model, *NO_CACHE) as server:
        harm(notes, server, traffic, sizes)
