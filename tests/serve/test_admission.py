"""The queue: turns by order of arrival, within bounds, and places that are freed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.admission import Admission
from serve.question import Refusal

MAX_PAIRS, WINDOW, LARGEST = 40, 10, 15


@asynccontextmanager
async def admitted(admission: Admission, pairs: int) -> AsyncIterator[None]:
    with admission.place(pairs):
        async with admission.turn(pairs):
            yield


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Client:
    """A request that is held until it is told to end."""

    def __init__(self, admission: Admission, pairs: int) -> None:
        self.pairs = pairs
        self.inside = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._ask(admission))

    async def _ask(self, admission: Admission) -> None:
        async with admitted(admission, self.pairs):
            self.inside = True
            await self._end.wait()

    def end(self) -> None:
        self._end.set()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, LARGEST)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        # In one turn of the event loop: a place is freed, and the one who would get it leaves.
        st.tuples(st.just("end and cancel"), st.integers(0, 9)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_any_schedule_equals_a_queue_on_paper(schedule: list[tuple[str, int]]) -> None:
    async def play() -> None:
        admission = Admission(max_pairs=MAX_PAIRS, window=WINDOW)
        waiting: list[Client] = []
        running: list[Client] = []

        def fill() -> None:
            while waiting and sum(client.pairs for client in running) < WINDOW:
                running.append(waiting.pop(0))

        for step, number in schedule:
            if step == "arrive":
                client = Client(admission, number)
                await settle()
                if sum(other.pairs for other in waiting + running) + number > MAX_PAIRS:
                    refused = client.task.exception()
                    assert isinstance(refused, Refusal)
                    assert refused.status == 429
                    assert refused.retry_after is not None
                    continue
                waiting.append(client)
            elif step == "end" and running:
                running.pop(number % len(running)).end()
            elif step == "cancel" and waiting + running:
                client = (waiting + running)[number % len(waiting + running)]
                (waiting if client in waiting else running).remove(client)
                client.task.cancel()
            elif step == "end and cancel" and running and waiting:
                running.pop(number % len(running)).end()
                await asyncio.sleep(0)  # the place is free and given on, but its new owner has not run yet
                waiting.pop(0).task.cancel()
            fill()
            await settle()
            assert admission.pairs_waiting == sum(client.pairs for client in waiting)
            assert admission.pairs_running == sum(client.pairs for client in running)
            assert admission.pairs_running < WINDOW + LARGEST
            assert all(client.inside for client in running)
            assert not any(client.inside for client in waiting)
        while running:
            running.pop(0).end()
            fill()
            await settle()
        assert await admission.idle(0)
        assert admission.pairs_waiting == admission.pairs_running == 0

    asyncio.run(play())


def test_a_request_that_reaches_the_window_gets_in_whole() -> None:
    async def play() -> None:
        admission = Admission(max_pairs=100, window=10)
        first, second, third = Client(admission, 9), Client(admission, 80), Client(admission, 1)
        await settle()
        assert (first.inside, second.inside, third.inside) == (True, True, False)
        assert (admission.pairs_running, admission.pairs_waiting) == (89, 1)
        with admission.place(10), pytest.raises(Refusal, match="100 pairs are waiting and the limit is 100"):
            async with admitted(admission, 1):
                pass
        with pytest.raises(Refusal, match="90 pairs are waiting and the limit is 100") as refused:
            async with admitted(admission, 11):
                pass
        assert (refused.value.status, refused.value.retry_after) == (429, 1)
        first.end()
        await settle()
        assert not third.inside
        second.end()
        await settle()
        assert third.inside

    asyncio.run(play())


def test_thousands_wait_in_order_and_leave_cheaply() -> None:
    async def play() -> None:
        admission = Admission(max_pairs=10_001, window=1)
        holder = Client(admission, 1)
        waiting = [Client(admission, 1) for _ in range(10_000)]
        await settle()
        assert admission.pairs_waiting == 10_000
        leaving = random.Random(0).sample(waiting, 9_800)
        started = time.perf_counter()
        for client in leaving:
            client.task.cancel()
        await settle()
        assert time.perf_counter() - started < 5
        assert admission.pairs_waiting == 200
        served = [client for client in waiting if not client.task.done()]
        holder.end()
        for client in served:
            await settle()
            assert client.inside
            assert admission.pairs_running == 1
            client.end()
        assert await admission.idle(1)

    asyncio.run(play())


@pytest.mark.parametrize(("max_pairs", "seconds"), [(10, [1, 1, 1]), (1_000, [6, 6, 11]), (100_000, [60, 60, 60])])
def test_retry_after_is_what_is_ahead_over_the_speed_while_busy(max_pairs: int, seconds: list[int]) -> None:
    async def play() -> None:
        admission = Admission(max_pairs=max_pairs, window=10)

        async def score(pairs: int, seconds: float) -> None:
            async with admitted(admission, pairs):
                await asyncio.sleep(seconds)

        async def retry_after() -> int:
            ahead = Client(admission, max_pairs)
            await settle()
            with pytest.raises(Refusal) as refused:
                await score(1, 0)
            ahead.task.cancel()
            await settle()
            assert refused.value.retry_after is not None
            return refused.value.retry_after

        await score(10, 0.05)  # just below 200 pairs a second
        told = [await retry_after()]
        await asyncio.sleep(0.2)  # idle time says nothing about the speed
        await score(10, 0.05)
        told.append(await retry_after())
        await score(1, 0.1)  # 21 pairs in 0.2 seconds
        told.append(await retry_after())
        assert told == pytest.approx(seconds, abs=1)

    asyncio.run(play())


def test_a_failure_inside_frees_the_place() -> None:
    async def play() -> None:
        admission = Admission(max_pairs=10, window=10)
        with pytest.raises(RuntimeError, match="engine"):
            async with admitted(admission, 10):
                raise RuntimeError("engine")
        async with admitted(admission, 10):
            assert admission.pairs_running == 10

    asyncio.run(play())


def test_draining_answers_who_is_there_and_refuses_who_comes() -> None:
    async def play() -> None:
        admission = Admission(max_pairs=100, window=10)
        assert not admission.draining
        first, second = Client(admission, 10), Client(admission, 10)
        await settle()
        admission.drain()
        assert admission.draining
        with pytest.raises(Refusal, match="stopping") as refused:
            async with admitted(admission, 1):
                pass
        assert refused.value.status == 503
        assert not await admission.idle(0.01)
        first.end()
        await settle()
        assert second.inside
        assert not await admission.idle(0.01)
        second.end()
        assert await admission.idle(1)

    asyncio.run(play())


def test_a_place_counts_before_its_turn_and_what_has_one_may_still_take_a_turn_while_draining() -> None:
    async def play() -> None:
        admission = Admission(max_pairs=10, window=10)
        with admission.place(10):
            admission.drain()
            assert not await admission.idle(0)
            async with admission.turn(4):
                assert (admission.pairs_running, admission.pairs_waiting) == (4, 0)
        assert await admission.idle(0)

    asyncio.run(play())
