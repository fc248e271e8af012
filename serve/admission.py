"""Who may ask the engine now, who waits, and who is told to come back: a bounded queue of requests, counted in pairs.

The engine gets a window of work, enough to fill its batches; the rest waits here, first come first served, where it
costs little and where a client that leaves frees its place at once. Past the bound a request is refused with the time
after which to try again, so that memory stays bounded and nobody waits for long in vain. What a pair is, and HTTP, are
none of its business.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serve.question import Refusal

# How far back the measured speed looks: long enough for a few large requests, short enough to follow a change of load.
_MEMORY_SECONDS = 30.0
_MOST_RETRY_SECONDS = 60


class Admission:
    """Lets requests in by turns, within bounds.

    A request has a place from the moment that it is accepted until it is answered; within it, it takes a turn for what
    the engine must compute. All methods are for one event loop; nothing is shared between threads.

    Args:
        max_pairs: the most pairs that have places; past it a request is refused.
        window: pairs that run at once. The request that reaches it still gets in whole, so that a large one is never
            stuck.

    Example:
        >>> async def one_request() -> int:
        ...     admission = Admission(max_pairs=1000, window=100)
        ...     with admission.place(64):
        ...         async with admission.turn(64):
        ...             return admission.pairs_running
        >>> asyncio.run(one_request())
        64
    """

    def __init__(self, *, max_pairs: int, window: int) -> None:
        assert 0 < window <= max_pairs
        self._max_pairs = max_pairs
        self._window = window
        # In order of arrival; unlike a deque it gives up a cancelled waiter, wherever it stands, in one step.
        self._waiters: OrderedDict[asyncio.Future[None], int] = OrderedDict()
        self._placed = 0
        self._waiting = 0
        self._running = 0
        self._draining = False
        self._speed = _Speed()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pairs_waiting(self) -> int:
        """How many pairs wait for their turn."""
        return self._waiting

    @property
    def pairs_running(self) -> int:
        """How many pairs are being scored; at most the window plus the largest request."""
        return self._running

    @property
    def draining(self) -> bool:
        """Whether new requests are refused because the server is about to stop."""
        return self._draining

    @contextmanager
    def place(self, pairs: int) -> Iterator[None]:
        """Hold a place in the queue for the length of the block, from before any work is spent on a request.

        Args:
            pairs: of the request, at least 1 and at most `max_pairs`; the caller has refused larger ones.

        Raises:
            Refusal: 503 when the server is about to stop, 429 with `retry_after` when there is no room.
        """
        assert 0 < pairs <= self._max_pairs
        if self._draining:
            raise Refusal(503, "the server is stopping; ask another one")
        if self._placed + pairs > self._max_pairs:
            seconds = self._retry_after()
            raise Refusal(
                429,
                f"{self._placed} pairs are waiting and the limit is {self._max_pairs}; try again in {seconds} seconds",
                retry_after=seconds,
            )
        self._placed += pairs
        self._idle.clear()
        try:
            yield
        finally:
            self._placed -= pairs
            if not self._placed:
                self._idle.set()

    @asynccontextmanager
    async def turn(self, pairs: int) -> AsyncIterator[None]:
        """Wait for this request's turn, and run in the window for the length of the block; only within a `place`.

        A task that is cancelled, waiting or inside the block, gives its turn up at once.

        Args:
            pairs: that need the engine, at most those of the place.
        """
        assert 0 < pairs <= self._placed
        await self._enter(pairs)
        scored = 0
        try:
            yield
            scored = pairs
        finally:
            self._leave(pairs, scored)

    def drain(self) -> None:
        """Give no more places from now on; the requests that have one are answered."""
        self._draining = True

    async def idle(self, timeout: float) -> bool:
        """Wait until no request has a place, at most `timeout` seconds; return whether that is so."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _enter(self, pairs: int) -> None:
        if self._running < self._window:  # then nobody waits either
            self._start(pairs)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters[turn] = pairs
        self._waiting += pairs
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiters.pop(turn, None) is not None:
                self._waiting -= pairs
            elif not turn.cancelled():  # its turn came in the same moment
                self._leave(pairs, scored=0)
            raise

    def _start(self, pairs: int) -> None:
        if self._running == 0:
            self._speed.resume()
        self._running += pairs

    def _leave(self, pairs: int, scored: int) -> None:
        """Free a place, and give it to those who wait longest."""
        self._speed.add(scored)
        self._running -= pairs
        while self._waiters and self._running < self._window:
            turn, next_pairs = self._waiters.popitem(last=False)
            self._waiting -= next_pairs
            if not turn.cancelled():
                turn.set_result(None)
                self._start(next_pairs)

    def _retry_after(self) -> int:
        """Return the seconds in which what is ahead should be done, 1 to 60; 1 when no speed is known yet."""
        ahead = self._placed
        speed = self._speed.pairs_per_second
        seconds = math.ceil(ahead / speed) if speed > 0 else 1
        return min(max(seconds, 1), _MOST_RETRY_SECONDS)


class _Speed:
    """Pairs per second while there was work, as an exponentially weighted mean over time."""

    def __init__(self) -> None:
        self._pairs = 0.0
        self._seconds = 0.0
        self._since = 0.0

    @property
    def pairs_per_second(self) -> float:
        return self._pairs / self._seconds if self._seconds > 0 else 0.0

    def resume(self) -> None:
        """Start the clock after a time without work."""
        self._since = time.monotonic()

    def add(self, pairs: int) -> None:
        """Count pairs that were finished since the last call."""
        now = time.monotonic()
        elapsed = now - self._since
        self._since = now
        kept = math.exp(-elapsed / _MEMORY_SECONDS)
        self._pairs = self._pairs * kept + pairs
        self._seconds = self._seconds * kept + elapsed
