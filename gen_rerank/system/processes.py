"""Child processes that leave nothing behind: each in a session of its own, stopped as a group, gone when its parent is.

What a child does, and what its output means, is the caller's.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from gen_rerank.system.publishing import workplace_of

LOOPBACK = "127.0.0.1"
_PREFIX = "gen_rerank_"
_STOP_SECONDS = 30
# Goes on without a parent, so that it outlives ours, and removes the folders once nobody can write to them any more.
_REMOVER = (
    "import os, shutil, sys; os.fork() and os._exit(0); sys.stdin.read(); "
    "[shutil.rmtree(folder, True) for folder in sys.argv[1:]]"
)


def start_group(command: Sequence[str], output: IO[bytes], *, held: bool = False) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that all that it starts can be stopped as one group.

    Ctrl-C in the terminal reaches the caller alone, who stops the group with `stop_group`.

    Args:
        command: the program and its arguments.
        output: where its standard output and error go.
        held: give it a pipe as standard input, which closes when this process ends, however that happens; a child that
            calls `end_with_parent` ends then too.
    """
    stdin = subprocess.PIPE if held else None
    return subprocess.Popen(command, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def stop_group(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process to stop, wait, and end whatever of its group is left.

    Args:
        process: that `start_group` started; it alone is asked, as it knows best how to stop what it started.
        seconds: that it has to do so.
    """
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    finally:
        with suppress(ProcessLookupError):  # the usual case: nothing is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_group(command: Sequence[str]) -> int:
    """Run a command in a group of its own, with the output of this process, and return its exit code.

    Whatever ends the wait, an exception or Ctrl-C, ends the group.
    """
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    finally:
        stop_group(process, _STOP_SECONDS)


@contextmanager
def signals_unwind() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, leave the block as an exception does: what it started is stopped.

    The process ends with the exit code that shells give such an end. Only the main thread may call this.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # a second one must not stop the stopping
        raise SystemExit(128 + number)

    # Under nohup the end of the terminal is ignored, and stays so.
    heeded = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, leave) for one in heeded}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def end_with_parent() -> None:
    """Let SIGTERM end this process when its standard input closes: whoever started it, with `held`, is gone."""

    def follow() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def script_runs_once() -> Iterator[None]:
    """Keep the caller's script from being run again in processes that are spawned in the block.

    Python imports the main module anew in each of them. Of a script without `if __name__ == "__main__":` that would be
    all of its work again, from within its own start. It matters to those alone whose children need something that the
    script defines.
    """
    script = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: script[name] for name in ("__file__", "__spec__") if name in script}
    try:
        script.pop("__file__", None)  # not None: `inspect` takes every module that has one for a file's
        script["__spec__"] = None
        yield
    finally:
        script.update(hidden)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder that is removed with the block, and with this process, however that ends.

    So is what `folder_appearing` has written beside it, on the way to becoming it.

    A process can end in ways that leave Python no time (SIGKILL, the system for want of memory). So one that is no
    child of this one, and in no group of its, waits for a pipe that closes with it.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    places = (folder, workplace_of(folder))
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-I", "-S", "-c", _REMOVER, *map(str, places)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    ) as remover:
        try:
            remover.wait()
            yield folder
        finally:
            for place in places:
                shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
