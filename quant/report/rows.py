"""The rows of the report's tables: figures beside the reference's, reasons for gaps, one shape a table.

All figures are the `Comparison`'s; a figure that is absent is a dash, with its reason in a numbered note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gen_rerank.calibration.tiers import IRRELEVANT
from gen_rerank.evaluation.evaluation import HEADLINE
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import Verdict
from gen_rerank.reporting.numbers import ABSENT, duration, figure, significant, size
from quant.comparison import Candidate, Comparison, Cost, Drift, Engine, SliceChange, System
from quant.report.words import bracketed, times

_ENGINES: tuple[Engine, ...] = ("vllm", "transformers")


@dataclass(frozen=True)
class Summary:
    """A system on one line, as text, in the order of the terminal's columns."""

    system: System
    cells: tuple[str, ...]


def summary(comparison: Comparison) -> list[Summary]:
    """Return one row a system, the reference first: quality, drift, cost and verdict."""
    return [_summary(comparison, system) for system in (comparison.reference, *comparison.candidates)]


def _summary(comparison: Comparison, system: System) -> Summary:
    found = quality(system, HEADLINE)
    delta: Interval | None = None
    drift: Drift | None = comparison.floor
    verdict = "reference"
    if isinstance(system, Candidate):
        delta, drift = system.delta.get(HEADLINE), system.drift
        verdict = "ship it" if system.passed else f"do not ship: {_failed(system)}"
    cells = (
        system.name,
        figure(found.mean if found else None),
        bracketed(delta, "+.4f"),
        figure(drift.tier_flips if drift else None, ".2%"),
        figure(drift.mean_change if drift else None, ".4f"),
        figure(drift.jensen_shannon if drift else None, ".4f"),
        times(system.disk_bytes, comparison.reference.disk_bytes),
        _throughput_ratio(comparison, system),
        verdict,
    )
    return Summary(system, cells)


def _failed(candidate: Candidate) -> str:
    names = [verdict.gate for verdict in candidate.failures]
    if not names:
        return "not scored" if candidate.refused else "not judged"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _throughput_ratio(comparison: Comparison, system: System) -> str:
    """Return the ratio with the first engine that measured both, and name the engine where it is not vLLM."""
    for engine in _ENGINES:
        ours, theirs = system.cost_of(engine), comparison.reference.cost_of(engine)
        if ours and theirs and ours.visits and theirs.visits:
            ratio = times(ours.median("pairs_per_second"), theirs.median("pairs_per_second"))
            return ratio if engine == "vllm" else f"{ratio} ({engine})"
    return ABSENT


def quality(system: System, measure: str) -> Interval | None:
    """Return a measure of a system, None where it was not measured."""
    return system.quality.measures.get(measure) if system.quality else None


@dataclass(frozen=True)
class CostCell:
    """A figure of cost: its median over visits, smallest and largest, the ratio; `note` numbers a reason, or is 0."""

    text: str
    extent: str = ""
    ratio: str = ""
    note: int = 0


@dataclass(frozen=True)
class CostRow:
    """What a system costs with one engine: a cell for each of `COST_COLUMNS`, and one for how far its scores differ."""

    system: System
    engine: str
    visits: str
    cells: tuple[CostCell, ...]
    note: int = 0


def seconds(value: float) -> str:
    """Return a time in seconds, however long, so that a median can be held against its smallest and largest visit.

    Example:
        >>> seconds(0.0312), seconds(125.4)
        ('31.2 ms', '125 s')
    """
    return duration(value) if value < 1 else f"{significant(value)} s"


COST_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "Resident": ("resident_bytes", size),
    "Start-up": ("start_seconds", seconds),
    "Pairs/s": ("pairs_per_second", significant),
    "p50": ("p50_seconds", seconds),
    "p95": ("p95_seconds", seconds),
}


@dataclass(frozen=True)
class CostTable:
    """The rows by engine, the reference first in each, and the reasons that the cells' notes number from 1."""

    rows: list[CostRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, reason: str) -> int:
        """Return the number of a reason; one that is there already keeps its number."""
        if reason not in self.notes:
            self.notes.append(reason)
        return self.notes.index(reason) + 1


def cost_table(comparison: Comparison) -> CostTable:
    """Return what each system costs with each engine that was asked for; a system without any has a row of dashes."""
    table = CostTable()
    systems = (comparison.reference, *comparison.candidates)
    for engine in _ENGINES:
        theirs = comparison.reference.cost_of(engine)
        for system in systems:
            cost = system.cost_of(engine)
            if cost:
                table.rows.append(_cost_row(table, system, cost, theirs))
    for system in systems:
        if not system.cost:
            refused = isinstance(system, Candidate) and system.refused
            why = "What could not be scored has no cost." if refused else "Its cost was not measured in this run."
            cell = CostCell(ABSENT, note=table.note(why))
            table.rows.append(CostRow(system, ABSENT, "", (cell,) * (len(COST_COLUMNS) + 1)))
    return table


def _cost_row(table: CostTable, system: System, cost: Cost, theirs: Cost | None) -> CostRow:
    engine = f"{cost.engine}, {cost.dtype}"
    if not cost.visits:
        cell = CostCell(ABSENT, note=table.note(cost.unmeasured))
        return CostRow(system, engine, "", (cell,) * (len(COST_COLUMNS) + 1))
    cells = [_measured(table, cost, theirs, name, show) for name, show in COST_COLUMNS.values()]
    fewer = table.note(cost.unmeasured) if cost.unmeasured else 0
    return CostRow(system, engine, _visits(cost), (*cells, _served(table, cost)), fewer)


def _visits(cost: Cost) -> str:
    """Return how many visits there were, and what the shortest of them scored where that is known."""
    text = "1 visit" if len(cost.visits) == 1 else f"{len(cost.visits)} visits"
    pairs, queries = (min(getattr(visit, name) for visit in cost.visits) for name in ("pairs", "queries"))
    scored = f": {pairs:,} pairs, {queries:,} queries" if pairs and queries else ""
    cache = max(visit.cache_bytes for visit in cost.visits)
    return text + scored + (f"; {size(cache)} of the memory is cache" if cache else "")


def _served(table: CostTable, cost: Cost) -> CostCell:
    if cost.served_change is not None:
        largest = f"largest {figure(cost.served_largest, '.4f')} of {cost.served_pairs:,} pairs"
        return CostCell(figure(cost.served_change, ".4f"), largest)
    itself = "transformers gives the scores that other engines are held against."
    other = "The engine's scores were not held against those of transformers."
    return CostCell(ABSENT, note=table.note(itself if cost.engine == "transformers" else other))


def _measured(table: CostTable, cost: Cost, theirs: Cost | None, name: str, show: Callable[[float], str]) -> CostCell:
    values = [float(getattr(visit, name)) for visit in cost.visits]
    extent = f"{show(min(values))} – {show(max(values))}" if len(values) > 1 else ""
    if theirs and theirs.visits:
        return CostCell(show(cost.median(name)), extent, times(cost.median(name), theirs.median(name)))
    why = theirs.unmeasured if theirs else "this run did not ask for it."
    note = table.note(f"No ratio: the reference was not measured with {cost.engine}: {why}")
    return CostCell(show(cost.median(name)), extent, ABSENT, note)


@dataclass(frozen=True)
class GateRow:
    """A gate across the candidates: what it asks, what all verdicts that passed say, and each candidate's, or None."""

    gate: str
    limit: str
    meaning: str
    verdicts: tuple[Verdict | None, ...]


def gate_rows(comparison: Comparison) -> list[GateRow]:
    """Return one row a gate; its meaning is empty where what passed says something of its own for each candidate."""
    by_candidate = [{verdict.gate: verdict for verdict in one.verdicts} for one in comparison.candidates]
    rows = []
    for gate in dict.fromkeys(name for found in by_candidate for name in found):
        verdicts = tuple(found.get(gate) for found in by_candidate)
        given = [verdict for verdict in verdicts if verdict]
        meanings = {verdict.meaning for verdict in given if verdict.passed}
        rows.append(GateRow(gate, given[0].limit, meanings.pop() if len(meanings) == 1 else "", verdicts))
    return rows


@dataclass(frozen=True)
class Flips:
    """Pairs by tier: a row for each tier of the reference, a column for each of the candidate; None on the diagonal."""

    tiers: tuple[str, ...]
    rows: tuple[tuple[int | None, ...], ...]
    kept: int


def flip_matrix(comparison: Comparison, drift: Drift) -> Flips:
    """Return the flips as a matrix, the highest tier first."""
    named = sorted(comparison.thresholds, key=lambda tier: -comparison.thresholds[tier])
    tiers = (*named, IRRELEVANT)
    rows = tuple(tuple(None if a == b else drift.flips.get(f"{a}>{b}", 0) for b in tiers) for a in tiers)
    return Flips(tiers, rows, comparison.pairs - sum(drift.flips.values()))


def slices_by_loss(candidate: Candidate) -> list[tuple[str, SliceChange]]:
    """Return the slices, the one that loses most first."""
    return sorted(candidate.slices.items(), key=lambda item: (item[1].ndcg5.mean, item[0]))
