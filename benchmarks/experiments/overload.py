"""Overload: more is asked for than the server can answer, for minutes; it may refuse, but not lose, swap or grow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np

from experiments.clients import open_loop
from experiments.finding import Notes, Sizes
from experiments.scored import SAME, ScoredRequest, ScoredTraffic
from experiments.server import NO_CACHE, Server, serving
from gen_rerank.errors import BadInput
from harness.timing import percentiles

SAMPLE_SECONDS = 5.0
# A full queue and warm caches are bounded, a leak is not.
MOST_MEMORY, MOST_GROWTH = 1.25, 0.01
# The search for a server's capacity; a probe is long enough to fill the queue.
_FIRST_RATE, _DOUBLINGS_OF_RATE, _PROBE_SECONDS = 16.0, 8, 15.0


def capacity(server: Server, requests: Sequence[ScoredRequest]) -> float:
    """Return how many requests a second the server answers: the rate is doubled until some are refused.

    Clients that wait for their answer before they ask again, and share the cores with the server, would measure too
    little. The products are in the engine's prefix cache afterwards, as they are under a longer load.
    """
    rate = _FIRST_RATE
    for _ in range(_DOUBLINGS_OF_RATE):
        started = time.monotonic()
        replies = asyncio.run(open_loop(server, requests, rate, _PROBE_SECONDS))
        answered = sum(reply.status == 200 for reply in replies)
        if answered < len(replies):
            return answered / (time.monotonic() - started)
        rate *= 2
    raise BadInput(f"the server refused nothing at {rate / 2:g} requests a second; ask with more --documents")


class MemorySamples(threading.Thread):
    """Samples the server's resident memory until it is stopped.

    Attributes:
        taken: (seconds since the start, bytes).
    """

    def __init__(self, server: Server, every: float) -> None:
        super().__init__(daemon=True)
        self.taken: list[tuple[float, int]] = []
        self._server = server
        self._every = every
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample."""
        started = time.monotonic()
        while True:
            self.taken.append((time.monotonic() - started, self._server.resident_bytes()))
            if self._stopped.wait(self._every):
                return

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stopped.set()
        self.join()

    def slope(self, warm_up: float = 0.3) -> float:
        """Return the growth after the first part of the time, in MiB a minute."""
        rows = np.array(self.taken, dtype=np.float64)
        rows = rows[rows[:, 0] >= warm_up * rows[-1, 0]]
        return float(np.polyfit(rows[:, 0] / 60, rows[:, 1] / 2**20, 1)[0]) if len(rows) > 1 else 0.0


def harm(notes: Notes, server: Server, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Ask for more than the server can answer, for minutes."""
    documents, seconds = sizes.documents, 60 * sizes.minutes
    able = capacity(server, traffic.requests)
    with MemorySamples(server, min(SAMPLE_SECONDS, seconds / 10)) as memory:
        started = time.monotonic()
        replies = asyncio.run(open_loop(server, traffic.requests, sizes.times * able, seconds))
        wall = time.monotonic() - started
    statuses = Counter(reply.status for reply in replies)
    apart = traffic.least_distance()
    notes.wanted("two requests' scores differ by at least", apart, f"above {10 * SAME:g}", apart > 10 * SAME)
    answered = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 429]
    notes.stated("capacity, pairs/s", able * documents)
    notes.stated("offered, pairs/s", len(replies) * documents / seconds)
    notes.stated("answered, pairs/s", len(answered) * documents / wall)
    notes.stated("requests", len(replies))
    notes.stated("answered 200", len(answered))
    notes.wanted("refused 429", len(refused), "some", bool(refused))
    others = len(replies) - len(answered) - len(refused)
    notes.wanted("neither 200 nor 429", others, "0", others == 0)
    notes.wanted("lost", statuses[0], "0", statuses[0] == 0)
    without = sum(not (reply.retry_after or "").isdigit() for reply in refused)
    notes.wanted("429 without Retry-After", without, "0", without == 0)
    notes.same_scores(answered)
    for name, chosen in (("answered", answered), ("refused", refused)):
        if chosen:
            p50, _, p99 = percentiles([reply.seconds for reply in chosen])
            notes.stated(f"seconds until {name}, p50", p50)
            notes.stated(f"seconds until {name}, p99", p99)
    sizes_mib = [taken / 2**20 for _, taken in memory.taken]
    notes.stated("resident memory at start, MiB", sizes_mib[0])
    notes.stated("resident memory at the end, MiB", sizes_mib[-1])
    most, growth = max(sizes_mib) / sizes_mib[0], memory.slope() / sizes_mib[0]
    notes.wanted("resident memory at most, of that at start", most, f"below {MOST_MEMORY}", most < MOST_MEMORY)
    notes.wanted("growth after warm-up, a minute", f"{growth:.2%}", f"below {MOST_GROWTH:.0%}", growth < MOST_GROWTH)


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Do it to a server of its own, with a short queue."""
    bounds = ("--max-queued-pairs", str(sizes.queued_pairs), "--max-documents", str(sizes.documents))
    # The system counts a cache's memory when it is first used: a small one is used up during the warm-up.
    with serving(traffic.model, *NO_CACHE, *bounds, "--cache-gib", "0.25") as server:
        harm(notes, server, traffic, sizes)
