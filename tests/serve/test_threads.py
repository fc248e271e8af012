"""Work on threads: it is waited for, or never begun, when the caller is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.threads import on_thread


class Work:
    """Lasts until it is told to end."""

    def __init__(self) -> None:
        self.began, self.end = threading.Event(), threading.Event()
        self.ended = False

    def __call__(self) -> int:
        self.began.set()
        assert self.end.wait(10)
        self.ended = True
        return 42


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_the_loop_is_free_while_it_works(threads: ThreadPoolExecutor) -> None:
    async def play() -> None:
        work = Work()
        task = asyncio.create_task(on_thread(threads, work))
        while not work.began.is_set():
            await asyncio.sleep(0.001)
        work.end.set()
        assert await task == 42

    asyncio.run(play())


def test_a_failure_is_raised(threads: ThreadPoolExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(on_thread(threads, lambda: 1 // 0))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_who_is_cancelled_waits_for_the_end(threads: ThreadPoolExecutor, times: int) -> None:
    async def play() -> None:
        work = Work()
        task = asyncio.create_task(on_thread(threads, work))
        await asyncio.to_thread(work.began.wait)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        work.end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.ended

    asyncio.run(play())


def test_a_deadline_that_passes_is_told_after_the_end(threads: ThreadPoolExecutor) -> None:
    async def play(also_cancelled: bool) -> None:
        work = Work()

        async def in_time() -> None:
            async with asyncio.timeout(0.01):
                await on_thread(threads, work)

        task = asyncio.create_task(in_time())
        await asyncio.sleep(0.05)
        if also_cancelled:
            task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        work.end.set()
        with pytest.raises(asyncio.CancelledError if also_cancelled else TimeoutError):
            await task
        assert work.ended

    asyncio.run(play(also_cancelled=False))
    asyncio.run(play(also_cancelled=True))


def test_what_no_thread_has_begun_is_dropped(threads: ThreadPoolExecutor) -> None:
    async def play() -> None:
        first, second = Work(), Work()
        begun = asyncio.create_task(on_thread(threads, first))
        waiting = asyncio.create_task(on_thread(threads, second))
        await asyncio.to_thread(first.began.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)
        first.end.set()
        assert await begun == 42
        assert await on_thread(threads, lambda: 7) == 7
        assert not second.began.is_set()

    asyncio.run(play())
