"""Work that would hold up the event loop, on a thread, and waited for whatever happens.

A thread cannot be stopped. A request that is cancelled while one works for it therefore stays until it has ended:
whatever is counted for the request, a place or memory, is in use until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


async def on_thread(threads: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
    """Return what `work` returns, or raise what it raises.

    When the caller is cancelled, work that no thread has begun is dropped, and work that one has begun is waited for,
    before the cancellation goes on.

    Example:
        >>> asyncio.run(on_thread(ThreadPoolExecutor(1), lambda: 6 * 7))
        42
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    running = threads.submit(work)
    running.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await ended.wait()
        except asyncio.CancelledError as error:
            running.cancel()
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return running.result()
