"""A server to harm: its processes, its memory and its counters, seen from outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from gen_rerank.system.server import start_server_process
from harness.server import samples

# Where the server's work is wanted: nothing is answered from its score cache.
NO_CACHE = ("--score-cache", "0")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: its base.
        process: the API server; its engine is a child.
        model: what it serves.
    """

    url: str
    process: subprocess.Popen[bytes]
    model: Path

    def tree(self) -> list[psutil.Process]:
        """Return the server's process and all below it."""
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def engine(self) -> psutil.Process:
        """Return the engine's process."""
        return next(process for process in self.tree() if "EngineCore" in process.name())

    def resident_bytes(self) -> int:
        """Return the resident memory of all processes; what they share counts more than once."""
        total = 0
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        found = samples(self._metrics())
        return sum(one.value for one in found if one.name == name and labels.items() <= one.labels.items())

    def pairs_inside(self) -> float:
        """Return what waits or runs, of ours and of vLLM's."""
        gauges = ("gen_rerank_pairs_waiting", "gen_rerank_pairs_running")
        vllms = ("vllm:num_requests_waiting", "vllm:num_requests_running")
        return sum(self.metric(name) for name in (*gauges, *vllms))

    def pairs_read(self) -> float:
        """Return how many pairs it has read since it started: those that wait, run and were answered.

        From one text, as they move from one to the next; and vLLM's many other metrics, which take long to parse, are
        left out.
        """
        ours = "\n".join(line for line in self._metrics().splitlines() if line.startswith("gen_rerank_pairs_"))
        return sum(one.value for one in samples(ours + "\n") if not one.name.endswith("_created"))  # that is a time

    def processes_left(self, family: list[psutil.Process]) -> int:
        """Return how many of the server's processes, as `tree` gave them before, are still there after ten seconds."""
        _, left = psutil.wait_procs(family, timeout=10)
        return len(left)

    def exited(self) -> bool:
        """Return whether the API server has ended."""
        return self.process.poll() is not None

    def _metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=60).text


@contextmanager
def serving(model: Path, *arguments: str, dtype: str = "float32") -> Iterator[Server]:
    """Start a server, and stop it at the end of the block."""
    with start_server_process(model, "--dtype", dtype, *arguments) as (url, process):
        yield Server(url, process, model)
