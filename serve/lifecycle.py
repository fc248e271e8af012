"""How the server ends: it drains when told to, remembers an engine that died, and waits for none that cannot start.

vLLM, told to stop by SIGTERM or SIGINT, stops its engine first and the HTTP server after it. We put a step before that:
new requests are refused with 503, `/ready` says so, and those that are being answered may finish. An engine that dies
makes vLLM's watchdog end the server; the launcher asks here whether that was so, to exit with another code than 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

_POLL_SECONDS = 0.1
# In which vLLM can notice by itself, and say more.
_START_GRACE_SECONDS = 5.0
# For the system to take back what killed processes held.
_KILL_SECONDS = 5.0


@dataclass
class Lifecycle:
    """What became of one server.

    Attributes:
        drain_seconds: how long requests that are being answered may go on.
        engine_died: whether the engine stopped before anybody asked for it.
        started: whether the server answers.
    """

    drain_seconds: float
    engine_died: bool = False
    started: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def watch_start(self) -> None:
        """End this process when its engine ends before the server answers.

        vLLM waits for such an engine for minutes, or for ever: one that a Ctrl-C in the terminal, or the system for
        want of memory, has ended too.
        """
        threading.Thread(target=self._watch_start, name="engine-start", daemon=True).start()

    def _watch_start(self) -> None:
        seen = False
        while not self.started:
            engines = [child for child in psutil.Process().children() if _is_engine(child)]
            seen = seen or bool(engines)
            if seen and not engines:
                time.sleep(_START_GRACE_SECONDS)
                if not self.started:
                    end_now("the engine stopped while it was starting", code=1)
            time.sleep(_POLL_SECONDS * 5)

    def follow(self, engine: Any, state: Any) -> None:
        """Watch a server from now on; call it on its event loop, with its application's state."""
        self._tasks.append(asyncio.create_task(self._follow(engine, state)))

    async def _follow(self, engine: Any, state: Any) -> None:
        # vLLM sets its own handlers just before the server starts; ours replace them.
        while "server" not in state or not state.server.started:
            await asyncio.sleep(_POLL_SECONDS)
        self.started = True
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


def end_now(sentence: str, code: int) -> None:
    """End this process and all that it started, without waiting for what they do; the sentence is the last line."""
    started = _suspended(psutil.Process())
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=_KILL_SECONDS)
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()
    os._exit(code)


def _suspended(parent: psutil.Process) -> list[psutil.Process]:
    """Stop what a process has started, children before grandchildren, so that none starts or says anything more.

    Killed one by one, a child that lives a moment longer than its parent would complain about that on the screen.
    """
    stopped: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):
                child.suspend()
                stopped += [child, *_suspended(child)]
    return stopped


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "EngineCore" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
