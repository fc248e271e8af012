"""The engine `ray`: a pool of workers on one machine or on a cluster, each with a model of its own.

What travels through Ray are the numbers of slices and the figures of shards; workers read their rows and write their
shards themselves, so a cluster needs folders that all its machines see. A worker that dies is replaced, and what it
had begun is done again, under the same name.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from gen_rerank.errors import BadInput, first_line
from gen_rerank.offline.inputs import InputSlice
from gen_rerank.offline.scoring import Done
from gen_rerank.offline.shards import ShardFigures
from gen_rerank.offline.worker import ScoringJob, SliceScorer, trouble
from gen_rerank.scorers.scorer import Advance
from gen_rerank.system.processes import LOOPBACK

# Numbers and figures are all that it holds; Ray would take a third of the memory.
_STORE_BYTES = 2**27
_MOST_TRIES = 3
_LAST_PORT = 65_535
_ANSWER_S = 10.0  # Ray itself tries for minutes


@dataclass(frozen=True)
class RayEngine:
    """Scores slices on Ray.

    Attributes:
        address: of a cluster's head, or `auto`; None starts Ray on this machine, for the time of the run.
        workers: how many; None for as many as there are GPUs, or room for.
        cores: of a worker, where there is no GPU; None for all of the smallest machine, four at most.
    """

    address: str | None = None
    workers: int | None = None
    cores: int | None = None

    def __call__(self, job: ScoringJob, slices: Sequence[InputSlice], advance: Advance, done: Done) -> None:
        """Score slices; shards come in any order.

        Raises:
            BadInput: there is no such cluster, it has no room for the workers, or a worker says what stops it.
        """
        # Ray prints on the standard output what it has to say of a worker that died; there is the result alone.
        with redirect_stdout(sys.stderr), _connected(self.address):
            wanted = self._wanted()
            numbers = ray.data.from_items([{"number": i} for i in range(len(slices))], override_num_blocks=len(slices))
            scored = numbers.map_batches(
                _PoolWorker,
                fn_constructor_args=(job, tuple(slices)),
                batch_size=1,
                compute=ActorPoolStrategy(size=min(wanted.workers, len(slices)), max_tasks_in_flight_per_actor=1),
                num_cpus=wanted.cores,
                num_gpus=wanted.gpus,
            )
            for row in scored.iter_rows():
                if row["trouble"]:
                    raise BadInput(row["trouble"])
                done(ShardFigures(**{name: _plain(row[name]) for name in ShardFigures.__dataclass_fields__}))

    def _wanted(self) -> _Workers:
        """Return the workers, for which the cluster has room.

        Raises:
            BadInput: it has not.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if gpus:
            cores = self.cores or 1
            room = sum(min(int(node.get("GPU", 0)), int(node.get("CPU", 0) // cores)) for node in nodes)
        else:
            cores = self.cores or max(1, min(4, *(int(node["CPU"]) for node in nodes if node.get("CPU"))))
            room = sum(int(node.get("CPU", 0) // cores) for node in nodes)
        workers = self.workers or room
        if not room or workers > room:
            raise BadInput(
                f"{max(1, workers)} workers of {cores} cores{' and a GPU' if gpus else ''} do not fit: there is room "
                f"for {room}; change --workers or --worker-cores"
            )
        return _Workers(workers, cores, 1 if gpus else 0)


@dataclass(frozen=True)
class _Workers:
    workers: int
    cores: int
    gpus: int


class _PoolWorker:
    """One of the pool: makes its scorer with its first slice, so that what is wrong with it can be told."""

    def __init__(self, job: ScoringJob, slices: Sequence[InputSlice]) -> None:
        self._job = job
        self._slices = slices
        self._scorer: SliceScorer | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score one slice, and return its figures, or what is in the way."""
        given = self._slices[int(batch["number"][0])]
        figures, said = ShardFigures(given.shard, self._job.run, 0, 0, 0, 0), ""
        tries = self._job.workplace / f"{given.shard}.tries"
        try:
            if _tried_before(tries) >= _MOST_TRIES:
                said = f"{given.shard}: each of {_MOST_TRIES} workers died of it, perhaps for want of memory"
            else:
                self._scorer = self._scorer or SliceScorer(self._job)
                figures = self._scorer.score(given)
                tries.unlink(missing_ok=True)
        except Exception as error:
            told = trouble(error)
            if told is None:
                raise
            said = told
        return {name: [value] for name, value in {**asdict(figures), "trouble": said}.items()}


def _tried_before(tries: Any) -> int:
    """Count one more try at a slice, and return how many there were before; a worker that dies leaves its own."""
    with tries.open("ab") as file:
        before: int = file.tell()
        file.write(b".")
    return before


def _plain(value: Any) -> Any:
    """Return Python's value of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _require_an_answer(address: str) -> None:
    """Require that something listens at an address, before Ray tries it.

    Raises:
        BadInput: it is no HOST:PORT, or nothing answers there.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdecimal() or int(port) > _LAST_PORT:
        raise BadInput(f"--address {address}: give HOST:PORT of the cluster's head, or auto, on a machine of it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise BadInput(f"--address {address}: no Ray cluster answers ({first_line(error)})") from error


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray here; quietly, as what is worth saying is said by us.

    Raises:
        BadInput: no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address not in (None, "auto"):
        _require_an_answer(address)
    here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": LOOPBACK}
    here |= {"object_store_memory": _STORE_BYTES}
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **({} if address else here)
        )
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        where = f"--address {address}: no Ray cluster answers" if address else "Ray does not start here"
        raise BadInput(f"{where} ({first_line(error)})") from error
    try:
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        DataContext.get_current().enable_progress_bars = False
        yield
    finally:
        ray.shutdown()
