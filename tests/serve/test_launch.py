"""Starting and stopping, where no client is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serve.launch import free_port

pytest.importorskip("vllm")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_server_that_is_starting_can_be_stopped(
    tiny_checkpoint: Path, tmp_path: Path, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    """Alone, or with the engine's process that is on its way, as Ctrl-C in a terminal does it."""
    command = [sys.executable, "-m", "gen_rerank", "serve", str(tiny_checkpoint), "--port", str(free_port())]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        process = psutil.Process(server.pid)
        end = time.monotonic() + 120
        while not any("EngineCore" in child.name() for child in process.children()) and time.monotonic() < end:
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        started = process.children(recursive=True)
        send(server.pid, number)
        assert server.wait(60) in (1, 128 + number)
        assert "error: " in (tmp_path / "log").read_text().splitlines()[-1]
        _, alive = psutil.wait_procs(started, timeout=30)
        assert not alive
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
