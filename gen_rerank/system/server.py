"""`gen-rerank serve` as a child process: on a free port, waited for until it is ready, stopped for sure.

For whoever needs a server for a while: the demo, tests, benchmarks. It runs the command that a person types and knows
nothing of what the server does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gen_rerank.errors import BadInput
from gen_rerank.system.processes import LOOPBACK, free_port, start_group, stop_group

# In which requests are answered and the engine is stopped.
_EXIT_SECONDS = 60
_POLL_SECONDS = 0.5
_LOG_LINES = 15
_REFUSED = 2  # the exit code of the command for bad input
_ERROR = "error: "


@contextmanager
def start_server(
    model: str | Path,
    *arguments: str,
    served_name: str | None = None,
    log: Path | None = None,
    deadline: float = 600.0,
) -> Iterator[str]:
    """Run `gen-rerank serve` on a free port of this machine, and stop it at the end of the block.

    Args:
        model: a checkpoint folder or a hub name.
        arguments: further arguments of the command.
        served_name: what clients call the model.
        log: where the server's output goes; a temporary file by default, removed when all went well.
        deadline: the seconds that the server may take to become ready.

    Yields:
        the base URL, without a slash at its end.

    Raises:
        BadInput: the command refused the checkpoint or an argument; the sentence is its own.
        RuntimeError: the server stopped or did not become ready in time; the message ends with its last words.

    Example:
        >>> with start_server("runs/demo/model") as url:  # doctest: +SKIP
        ...     httpx.post(f"{url}/v1/rerank", json={"query": "oak desk", "documents": ["Oak desk"]})
    """
    with start_server_process(model, *arguments, served_name=served_name, log=log, deadline=deadline) as (url, _):
        yield url


@contextmanager
def start_server_process(
    model: str | Path,
    *arguments: str,
    served_name: str | None = None,
    log: Path | None = None,
    deadline: float = 600.0,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Do as `start_server`, and yield the process beside the URL, for those who harm it on purpose."""
    port = free_port()
    command = [sys.executable, "-m", "gen_rerank", "serve", str(model), "--host", LOOPBACK, "--port", str(port)]
    command += ["--name", served_name] if served_name is not None else []
    with tempfile.TemporaryDirectory(prefix="gen_rerank_") as folder:
        path = log or Path(folder) / "server.log"
        with path.open("wb") as output:
            server = start_group([*command, *arguments], output)
        try:
            url = f"http://{LOOPBACK}:{port}"
            _wait_until_ready(url, server, path, deadline)
            yield url, server
        finally:
            stop_group(server, _EXIT_SECONDS)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    import httpx

    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if server.poll() is not None:
            words = _last_lines(log)
            last = words.rpartition("\n")[2]
            if server.returncode == _REFUSED and last.startswith(_ERROR):
                raise BadInput(last.removeprefix(_ERROR))
            raise RuntimeError(f"the server stopped with exit code {server.returncode}:\n{words}")
        try:
            if httpx.get(f"{url}/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the server was not ready after {deadline:.0f} seconds:\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
