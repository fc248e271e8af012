"""Starting and stopping the server: in this process (`serve_model`) or as a child of it (`start_server`).

`serve_model` checks the checkpoint, sets the environment and runs vLLM's own API server with our plugin; it is called from
Python because the `vllm serve` command does not exist in the CPU build. `start_server` is for a demonstration
or a test: it waits until the server is healthy and is sure to leave no process behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gen_rerank.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.scorers.vllm import Dtype, engine_arguments, prepare_environment

_HOST = "127.0.0.1"
_PLUGIN = "gen_rerank"
# How long vLLM waits, once told to stop, for requests that are being answered and for its engine to exit by itself; and
# how long we wait for vLLM.
_DRAIN_SECONDS = 30
_EXIT_SECONDS = 60
_POLL_SECONDS = 0.5
_LOG_LINES = 15


def serve_model(
    model: str,
    *,
    host: str = _HOST,
    port: int = 8000,
    served_name: str | None = None,
    dtype: Dtype | None = None,
    enforce_eager: bool = True,
    **more: Any,
) -> None:
    """Serve a checkpoint until the process is told to stop (SIGTERM or SIGINT).

    Args:
        model: a checkpoint folder or a hub name.
        host: the address to listen on.
        port: the port to listen on.
        served_name: what clients call the model; `model` as given, unless told otherwise.
        dtype: of the weights and activations; as in `engine_arguments`.
        enforce_eager: no compilation: starts a minute earlier, computes slower.
        more: further arguments of vLLM's API server, with underscores; they win over ours.

    Raises:
        BadInput: the checkpoint is refused, or the port is taken.
    """
    checkpoint = Checkpoint.open(model)
    _check_address(host, port)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_PLUGINS"] = _with_our_plugin(os.environ.get("VLLM_PLUGINS"))
    prepare_environment()
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    vars(arguments).update(engine_arguments(checkpoint, dtype=dtype, enforce_eager=enforce_eager))
    vars(arguments).update(
        host=host, port=port, served_model_name=[served_name or model], shutdown_timeout=_DRAIN_SECONDS
    )
    vars(arguments).update(more)
    validate_parsed_serve_args(arguments)
    uvloop.run(run_server(arguments))


@contextmanager
def start_server(
    model: str | Path, *, served_name: str | None = None, log: Path | None = None, deadline: float = 600.0
) -> Iterator[str]:
    """Run a server for a checkpoint on a free port of this machine, and stop it at the end of the block.

    Args:
        model: a checkpoint folder or a hub name.
        served_name: what clients call the model.
        log: where the server's output goes; a temporary file by default, removed when all went well.
        deadline: the seconds that the server may take to become healthy.

    Yields:
        the base URL, without a slash at its end.

    Raises:
        BadInput: the checkpoint is refused.
        RuntimeError: the server stopped or did not become healthy in time; the message ends with its last words.

    Example:
        >>> with start_server("runs/demo/model") as url:  # doctest: +SKIP
        ...     httpx.post(f"{url}/v1/rerank", json={"query": "oak desk", "documents": ["Oak desk"]})
    """
    Checkpoint.open(model)
    port = free_port()
    command = [sys.executable, "-m", "serve", str(model), "--host", _HOST, "--port", str(port)]
    if served_name is not None:
        command += ["--name", served_name]
    with tempfile.TemporaryDirectory(prefix="gen_rerank_") as folder:
        path = log or Path(folder) / "server.log"
        with path.open("wb") as output:
            # A session of its own: what the server starts can then be found, and stopped, as one group.
            server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            url = f"http://{_HOST}:{port}"
            _wait_until_healthy(url, server, path, deadline)
            yield url
        finally:
            _stop(server)


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _check_address(host: str, port: int) -> None:
    """Try the address before vLLM is imported, which takes long."""
    if not 0 < port < 2**16:
        raise BadInput(f"a port is between 1 and {2**16 - 1}, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _with_our_plugin(allowed: str | None) -> str:
    names = allowed.split(",") if allowed else []
    return ",".join(names if _PLUGIN in names else [*names, _PLUGIN])


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    import httpx

    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"the server stopped with exit code {server.returncode}:\n{_last_lines(log)}")
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the server was not healthy after {deadline:.0f} seconds:\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, wait, and end whatever of its group is left."""
    try:
        # The server alone: it lets requests finish and stops its engine itself.
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(_EXIT_SECONDS)
    finally:
        with suppress(ProcessLookupError):  # the usual case: nothing is left
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
