"""How the server ends: it drains on SIGTERM and SIGINT, and remembers an engine that died.

vLLM, told to stop, stops its engine first and the HTTP server after it. We put a step before that: new requests are refused with 503,
`/ready` says so, and those that are being answered may finish. An engine that dies makes vLLM's watchdog end the
server; the launcher asks here whether that was so, to exit with another code than 0.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Any

_POLL_SECONDS = 0.1


@dataclass
class Lifecycle:
    """What became of one server.

    Attributes:
        drain_seconds: how long requests that are being answered may go on.
        engine_died: whether the engine stopped before anybody asked for it.
    """

    drain_seconds: float
    engine_died: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def follow(self, engine: Any, state: Any) -> None:
        """Watch a server from now on; call it on its event loop, with its application's state."""
        self._tasks.append(asyncio.create_task(self._follow(engine, state)))

    async def _follow(self, engine: Any, state: Any) -> None:
        # vLLM sets its own handlers just before the server starts; ours replace them.
        while "server" not in state or not state.server.started:
            await asyncio.sleep(_POLL_SECONDS)
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop() -> None:
            if stopping.is_set():  # asked twice: now
                engine.vllm_config.shutdown_timeout = 0
                state.server.should_exit = state.server.force_exit = True
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            while not stopping.is_set() and not engine.errored:
                await asyncio.sleep(_POLL_SECONDS)
        finally:  # the server may have ended, and this task with it, between two looks
            self.engine_died = engine.errored and not stopping.is_set()
        if not self.engine_died:
            state.admission.drain()
            await state.admission.idle(self.drain_seconds)
            state.server.should_exit = True
