"""What people read of serving.py's turns: the rows beside the best peer, the targets, where the time goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from gen_rerank.reporting.numbers import ABSENT
from harness.tables import FigureTable
from harness.this_run import ThisRun
from harness.timing import percentiles
from harness.traffic import Settings
from serving_parts.turns import COLD, HTTP, INT8, PEERS, WARM, Done, TimedRow

HEADER = ("Way", "With", "pairs/s", "p50 s", "p95 s", "p99 s", "requests", "of the peak", "× best peer")
TARGETS_HEADER = ("Target", "Measured", "Wanted", "")
PROFILE_HEADER = ("Where", "Share")


@dataclass(frozen=True)
class Target:
    """One promise and what came of it."""

    name: str
    value: float
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was kept."""
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(frozen=True)
class ServingReport:
    """All turns of a run, ready to print and to write.

    Attributes:
        settings: that were measured.
        done: the turns.
        about: machine, versions, date and command.
    """

    settings: Settings
    done: list[Done]
    about: ThisRun

    @property
    def rows(self) -> list[TimedRow]:
        """Every row, in the order of measurement."""
        return [row for each in self.done for row in each.rows]

    @property
    def peak(self) -> float | None:
        """The best rate of matrix products that was seen, FLOP/s; None if it was not measured."""
        return max((rate for each in self.done for rate in each.matmul.values()), default=None)

    def row(self, name: str) -> TimedRow | None:
        """Return all visits of a row as one, or None."""
        found = [row for row in self.rows if row.row == name]
        return None if not found else found[0] if len(found) == 1 else found[0].with_visit(found[1])

    @property
    def best_peer(self) -> TimedRow | None:
        """The peer with the most pairs a second."""
        peers = [row for row in map(self.row, PEERS) if row is not None]
        return max(peers, key=lambda row: row.pairs_per_second, default=None)

    def targets(self) -> list[Target]:
        """Return the promises that can be checked with the rows that there are."""
        cold, warm, int8, http = (self.row(name) for name in (COLD, WARM, INT8, HTTP))
        peer = self.best_peer
        found = []
        if cold and peer:
            found.append(Target("cold, times the best peer", cold.pairs_per_second / peer.pairs_per_second, 1.15))
        if cold and self.peak:
            found.append(Target("cold, share of the bf16 peak", cold.flops_per_second / self.peak, 0.65))
        if warm and peer:
            found.append(Target("warm, times the best peer", warm.pairs_per_second / peer.pairs_per_second, 7.0))
        if warm and cold:
            found.append(Target("warm, times our cold", warm.pairs_per_second / cold.pairs_per_second, 7.0))
        if int8 and cold:
            found.append(Target("int8 cold, times our cold", int8.pairs_per_second / cold.pairs_per_second, 1.5))
        if http and cold:
            lost = 1 - http.pairs_per_second / cold.pairs_per_second
            found.append(Target("pairs/s lost over HTTP", lost, 0.08, at_most=True))
        return found

    def tables(self) -> list[FigureTable]:
        """Return the rows, the targets and the profile."""
        return [
            FigureTable(f"Reranking with the {self.settings.shape} shape", HEADER, self.cells(), self.caption()),
            FigureTable("Targets, set for the 0.6B shape on two cores", TARGETS_HEADER, self.promised()),
            FigureTable("Where the time of a cold request goes", PROFILE_HEADER, self.profiled()),
        ]

    def cells(self) -> list[list[str]]:
        """Return the table's rows, under `HEADER`."""
        peer = self.best_peer
        return [
            [
                row.row + (" (again)" if row.visit > 1 else ""),
                row.note,
                f"{row.pairs_per_second:.2f}",
                *(f"{seconds:.3f}" for seconds in percentiles(row.latencies)),
                str(len(row.latencies)),
                f"{row.flops_per_second / self.peak:.0%}" if self.peak else ABSENT,
                f"{row.pairs_per_second / peer.pairs_per_second:.2f}" if peer else ABSENT,
            ]
            for row in self.rows
        ]

    def promised(self) -> list[list[str]]:
        """Return the targets' rows, under `TARGETS_HEADER`."""
        return [
            [
                target.name,
                f"{target.value:.2f}",
                f"{'≤' if target.at_most else '≥'} {target.wanted:g}",
                "met" if target.met else "missed",
            ]
            for target in self.targets()
        ]

    def profiled(self) -> list[list[str]]:
        """Return the profile's rows, under `PROFILE_HEADER`."""
        return [[kind, f"{share:.1%}"] for each in self.done for kind, share in each.profile.items()]

    def failures(self) -> list[str]:
        """Return one sentence a turn that failed."""
        return [f"{each.turn.way} (visit {each.turn.visit}) failed: {each.failed}" for each in self.done if each.failed]

    def caption(self) -> str:
        """Return what one needs to know to read the table."""
        rates = [f"{int(width):,}: {rate / 1e12:.2f}" for each in self.done for width, rate in each.matmul.items()]
        return (
            f"{self.settings.candidates} products of {self.settings.product_tokens} tokens and a query of "
            f"{self.settings.query_tokens} a request. p50, p95 and p99 are of that many requests: of few, the last two "
            "are the slowest one. bfloat16 matrix products, TFLOP/s by width, at the start and the end: "
            f"{', '.join(rates) or 'not measured'}."
        )

    def markdown(self) -> str:
        """Return everything for a document."""
        rows, targets, profile = (table.document() for table in self.tables())
        parts = [self.about.heading(), rows, targets, *([profile] if self.profiled() else []), *self.failures()]
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return everything for a program."""
        return {
            **asdict(self.about),
            "settings": asdict(self.settings),
            "peak": self.peak,
            "rows": [asdict(row) | {"pairs_per_second": row.pairs_per_second} for row in self.rows],
            "targets": [asdict(target) | {"met": target.met} for target in self.targets()],
            "profile": {kind: share for each in self.done for kind, share in each.profile.items()},
            "failures": self.failures(),
        }

    def show(self, console: Console) -> None:
        """Print all tables."""
        console.print(f"{self.about.date}, {self.about.machine}; {self.about.versions}")
        for table in self.tables():
            table.show(console)
        for failure in self.failures():
            console.print(failure)
