"""What serving.py does turn by turn: which ways there are, in which order, and what a turn leaves.

First every way once; then the best peer and ours again, so that a machine that changes its pace is seen. Each turn runs
in a process of its own.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from gen_rerank.system.steps import Steps
from harness.own_process import NoResultError, in_own_process
from harness.traffic import Settings

# Torch, transformers and vLLM are imported where they are needed: each turn's process, and each of its engine's, reads
# this file again.

Way = Literal[
    "peak",
    "ours",
    "transformers",
    "cross_encoder",
    "generate",
    "generate_defaults",
    "query_first",
    "int8",
    "http",
    "profile",
]

COLD, WARM = "ours, cold", "ours, warm products"
INT8, INT8_WARM = "ours int8, cold", "ours int8, warm products"
QUERY_FIRST = "ours, query-first prompt, cold"
HTTP, SATURATED = "ours over HTTP, one client, cold", "ours over HTTP, saturated, cold"
TRANSFORMERS, CROSS_ENCODER = "transformers", "sentence-transformers CrossEncoder"
GENERATE_DEFAULTS = "vLLM generate, log-probabilities"
# Not a peer: what is left when the published way is given our threads, batches and memory, which nobody has published.
GENERATE = "vLLM generate, with our engine settings"
PEERS: dict[str, Way] = {
    TRANSFORMERS: "transformers",
    CROSS_ENCODER: "cross_encoder",
    GENERATE_DEFAULTS: "generate_defaults",
}

BATCH_SIZES = (1, 4, 8, 16)


@dataclass(frozen=True)
class Turn:
    """What one process does.

    Attributes:
        way: which.
        visit: the first or the second time.
        batch_sizes: that a peer tries; it keeps the best.
    """

    way: Way
    visit: int = 1
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def name(self) -> str:
        """That no other turn of a run has."""
        return f"{self.way}-{self.visit}"


@dataclass(frozen=True)
class TimedRow:
    """One row of the table.

    Attributes:
        row: its name.
        visit: the first or the second time.
        pairs: of a request.
        clients: that ask at the same time.
        latencies: seconds of each request.
        wall: seconds of all requests together.
        flops: of a request, on average, without what a cache held.
        note: what else was chosen.
    """

    row: str
    visit: int
    pairs: int
    clients: int
    latencies: tuple[float, ...]
    wall: float
    flops: float
    note: str = ""

    @property
    def pairs_per_second(self) -> float:
        """Of the median request; of all together where several clients ask."""
        if self.clients > 1:
            return self.pairs * len(self.latencies) / self.wall
        return self.pairs / statistics.median(self.latencies)

    @property
    def flops_per_second(self) -> float:
        """The operations that were done in a second."""
        return self.flops / self.pairs * self.pairs_per_second

    def with_visit(self, other: TimedRow) -> TimedRow:
        """Return the requests of both visits as one row."""
        return replace(self, latencies=self.latencies + other.latencies, wall=self.wall + other.wall)


@dataclass(frozen=True)
class Done:
    """What a turn left: its rows, the rate of matrix products, or the shares of a profile; or why it failed."""

    turn: Turn
    rows: list[TimedRow] = field(default_factory=list)
    matmul: dict[str, float] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Self:
        """Read what `Steps` kept of it."""
        turn = entry["turn"]
        rows = [TimedRow(**row | {"latencies": tuple(row["latencies"])}) for row in entry["rows"]]
        return cls(
            Turn(**turn | {"batch_sizes": tuple(turn["batch_sizes"])}),
            rows,
            entry["matmul"],
            entry["profile"],
            entry["failed"],
        )


def do_turn(turn: Turn, settings: Settings, folder: Path) -> Done:
    """Do a turn, in the process that was made for it."""
    match turn.way:
        case "peak":
            from serving_parts.peak import matmul_rates

            return Done(turn, matmul=matmul_rates())
        case "transformers" | "cross_encoder":
            from serving_parts.timed_peers import library_row

            return Done(turn, [library_row(turn, settings, folder)])
        case "generate" | "generate_defaults":
            from serving_parts.timed_peers import generate_row

            return Done(turn, [generate_row(turn, settings, folder)])
        case "ours" | "int8" | "query_first":
            from serving_parts.ours import engine_rows

            return Done(turn, engine_rows(turn, settings, folder))
        case "http":
            from serving_parts.over_http import http_rows

            return Done(turn, http_rows(turn, settings, folder))
        case "profile":
            from serving_parts.profile import profile_shares

            return Done(turn, profile=profile_shares(settings, folder))


@dataclass(frozen=True)
class Turns:
    """The turns of a run; those that are finished are written down.

    Attributes:
        ways: that are asked for.
        settings: of all of them.
        folder: of models and outputs.
        limit: the most seconds of a turn.
        steps: where finished turns are kept.
    """

    ways: Sequence[Way]
    settings: Settings
    folder: Path
    limit: float
    steps: Steps

    def done(self) -> list[Done]:
        """Return the finished turns, in order, without those that failed.

        Raises:
            BadInput: they were done with other settings.
        """
        kept = [self.steps.kept(name, self._command) for name in self.steps.finished()]
        return [Done.from_entry(entry) for entry in kept if entry is not None and not entry["failed"]]

    def start_anew(self) -> None:
        """Forget the finished turns."""
        self.steps.file.unlink(missing_ok=True)

    def rest(self) -> Iterator[Done]:
        """Do the turns that are not finished, and those that failed, and yield each when it is written down."""
        for way in self.ways:
            yield from self._unless_finished(Turn(way))
        for again in (best_peer_again(self.done(), self.ways), Turn("ours", 2), Turn("peak", 2)):
            if again and again.way in self.ways:
                yield from self._unless_finished(again)

    def _unless_finished(self, turn: Turn) -> Iterator[Done]:
        kept = self.steps.kept(turn.name, self._command)
        if kept is not None and not kept["failed"]:
            return
        start = time.perf_counter()
        done = in_a_process(turn, self.settings, self.folder, self.limit)
        self.steps.record(turn.name, self._command, time.perf_counter() - start, **asdict(done))
        yield done

    @property
    def _command(self) -> str:
        return json.dumps(asdict(self.settings))


def in_a_process(turn: Turn, settings: Settings, folder: Path, limit: float) -> Done:
    """Do a turn in a new process, whose output goes to a file; why it failed is a result too.

    Args:
        turn: which.
        settings: with what.
        folder: of models and outputs.
        limit: the most seconds.
    """
    try:
        return in_own_process(do_turn, turn, settings, folder, limit=limit, log=folder / f"{turn.name}.log")
    except NoResultError as error:
        return Done(turn, failed=str(error))


def best_peer_again(done: Sequence[Done], ways: Sequence[Way]) -> Turn | None:
    """Return the second visit of the best peer, at the batch size that it had; None if none was measured."""
    rows = [row for each in done for row in each.rows if row.visit == 1 and PEERS.get(row.row) in ways]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.pairs_per_second)
    size = re.fullmatch(r"batch (\d+)", best.note)
    return Turn(PEERS[best.row], 2, (int(size[1]),) if size else BATCH_SIZES)
