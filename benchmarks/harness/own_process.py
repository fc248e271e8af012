"""Work in a process of its own: its memory, threads and engines are nobody else's, and nothing of it is left behind."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import psutil

from gen_rerank.errors import first_line

T = TypeVar("T")

# In which an engine or a server of the process stops by itself, once there is a result.
_EXIT_SECONDS = 60


class NoResultError(RuntimeError):
    """A process ended, or was ended, without a result; the message is one sentence that says why."""


def in_own_process(work: Callable[..., T], *arguments: Any, limit: float | None = None, log: Path | None = None) -> T:
    """Call a function in a new process and return what it returns.

    Args:
        work: a function of a module; it and its arguments are pickled.
        arguments: its.
        limit: the most seconds; None is no limit.
        log: where its output goes; None leaves it on this process's.

    Raises:
        NoResultError: it raised an exception, was killed or took too long.

    Example:
        >>> in_own_process(len, "abc")  # doctest: +SKIP
        3
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sending, log, work, arguments))
    process.start()
    sending.close()
    where = f"; its output is in {log}" if log else ""
    try:
        if not receiving.poll(limit):
            raise NoResultError(f"took more than {limit:.0f} seconds{where}")
        result, failure = receiving.recv()
        process.join(_EXIT_SECONDS)
    except EOFError as error:
        raise NoResultError(f"its process was killed, most likely for memory{where}") from error
    finally:
        if process.is_alive():
            for each in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.kill()
            process.join()
    if failure:
        raise NoResultError(f"{failure}{where}")
    return result


def _child(sending: Connection, log: Path | None, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call the function and send (its result, "") or (None, why there is none)."""
    if log:
        with log.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        sending.send((work(*arguments), ""))
    except Exception as error:  # whatever it was, other work can still be done
        traceback.print_exc()
        sending.send((None, first_line(error)))
