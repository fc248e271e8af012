"""The report of a comparison: `report.html`, one file that needs nothing else, `report.md`, and the tables of the terminal.

All figures are the `Comparison`'s and all limits the gates'; here they are only laid out. The pages are
`templates/comparison.html` (inline SVG, no script) and `templates/comparison.md`; below are the shapes that a template
cannot compute itself. A figure that is absent is a dash, with its reason beside it or in a numbered note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from rich.markup import escape
from rich.table import Table

from gen_rerank.calibration.tiers import IRRELEVANT
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS
from gen_rerank.evaluation.metrics import MEASURES, Interval
from gen_rerank.reporting.axis import Axis
from quant.comparison import Candidate, Comparison, Cost, Drift, Engine, Histogram, SliceChange, System, Verdict

PAGE = "report.html"
TEXT = "report.md"

_ABSENT = "–"
_ENGINES: tuple[Engine, ...] = ("vllm", "transformers")
_LESS_IS_BETTER = frozenset((RPS, MSE, ECE))
_MARKDOWN = re.compile(r"[\\`*{}\[\]#!|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LABEL_GAP = 0.07
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))


def write_report(comparison: Comparison, out: Path) -> None:
    """Write `report.html` and `report.md` into the folder `out`, which must exist.

    Example:
        >>> write_report(Comparison.load("runs/compare/comparison.json"), Path("runs/compare"))  # doctest: +SKIP
    """
    shapes = _shapes(comparison)
    for template, name in (("comparison.html", PAGE), ("comparison.md", TEXT)):
        (out / name).write_text(_template(template).render(shapes), encoding="utf-8")


def _template(name: str) -> Template:
    environment = Environment(
        autoescape=name.endswith(".html"),  # in Markdown `prose` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (figure, significant, size, interval_ends, bracketed, prose, brief, mark, sentence)
    environment.filters |= {function.__name__: function for function in shown}
    return environment.from_string(files("quant").joinpath("templates", name).read_text("utf-8"))


def tables(comparison: Comparison) -> list[Table]:
    """Return what the terminal shows: the verdicts, one row a system, and the gates that did not pass, if any.

    Example:
        >>> for table in tables(Comparison.load("runs/compare/comparison.json")):  # doctest: +SKIP
        ...     console.print(table)
    """
    found = [_verdict_table(comparison), _summary_table(comparison)]
    return [*found, _failure_table(comparison)] if any(one.failures for one in comparison.candidates) else found


def _verdict_table(comparison: Comparison) -> Table:
    table = Table.grid(padding=(0, 1))
    for candidate in comparison.candidates:
        table.add_row(mark(candidate.passed), escape(sentence(candidate)))
    return table


def _summary_table(comparison: Comparison) -> Table:
    table = Table(
        title=f"Against {escape(comparison.reference.name)}: {comparison.queries:,} queries, {comparison.pairs:,} pairs",
        caption="Δ: candidate − reference, 95% paired bootstrap interval over queries; disk and pairs/s: candidate / "
        "reference; the reference's own drift is the noise floor",
    )
    table.add_column("System", overflow="fold")
    for heading in ("nDCG@5", "Δ nDCG@5", "Tier flips", "Mean |Δ|", "JS, bits", "Disk", "Pairs/s"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("Verdict", overflow="fold")
    for row in summary(comparison):
        table.add_row(*(escape(cell) for cell in row.cells))
    return table


def _failure_table(comparison: Comparison) -> Table:
    table = Table(title="Gates that did not pass")
    for heading in ("System", "Gate", "Measured", "Asked", "What it says"):
        table.add_column(heading, overflow="fold")
    for candidate in comparison.candidates:
        for verdict in candidate.failures:
            cells = (candidate.name, verdict.gate, verdict.measured, verdict.limit, verdict.meaning)
            table.add_row(*(escape(cell) for cell in cells))
    return table


# How figures are written


def figure(value: float | None, form: str = ".3f") -> str:
    """Return a number in the form of `format`: a dash for what is not a finite number, and no sign before a zero.

    Example:
        >>> figure(-0.0004), figure(float("nan")), figure(0.061, ".1%"), figure(0.02, "+.3f")
        ('0.000', '–', '6.1%', '+0.020')
    """
    if value is None or not math.isfinite(value):
        return _ABSENT
    text = format(value, form)
    return text if re.search("[1-9]", text) else text.lstrip("+-")


def significant(value: float) -> str:
    """Return a number with three significant digits, thousands separated and never an exponent.

    Example:
        >>> [significant(x) for x in (1234.5, 31.24, 0.5)]
        ['1,234', '31.2', '0.500']
    """
    digits = 2 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return figure(value, f",.{min(max(digits, 0), 6)}f")


def duration(seconds: float) -> str:
    """Return a time in seconds, or in milliseconds when it is shorter than one."""
    return f"{significant(seconds)} s" if seconds >= 1 else f"{significant(1000 * seconds)} ms"


def size(count: float) -> str:
    """Return a number of bytes in the decimal unit that fits it.

    Example:
        >>> size(1_190_000_000), size(410_000)
        ('1.19 GB', '410 kB')
    """
    unit, name = _unit(count)
    return f"{significant(count / unit)} {name}"


def _unit(count: float) -> tuple[float, str]:
    return next((unit for unit in _UNITS if count >= unit[0]), _UNITS[-1])


def interval_ends(interval: Interval, form: str = ".3f") -> str:
    """Return `0.890 – 0.931`, or `-0.003 to +0.001` where the form has signs."""
    between = " to " if form.startswith("+") else " – "
    return f"{figure(interval.low, form)}{between}{figure(interval.high, form)}"


def bracketed(interval: Interval | None, form: str = ".3f") -> str:
    """Return `0.912 [0.890, 0.931]`, a dash without an interval."""
    if interval is None:
        return _ABSENT
    return f"{figure(interval.mean, form)} [{figure(interval.low, form)}, {figure(interval.high, form)}]"


def prose(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line and inside one cell of a table.

    Example:
        >>> prose("a|b `c`")
        'a\\|b \\`c\\`'
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\g<0>", line)


def brief(name: str, most: int = 20) -> str:
    """Return a name that fits beside a point: the middle of a long one goes, since names often differ at their ends.

    Example:
        >>> brief("shop-model-fp8-block-realigned", 13)
        'shop-m…ligned'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def mark(passed: bool | None) -> str:
    """Return the sign beside a verdict, which its word always accompanies: ✓, ✗, or – where nothing was measured."""
    return _ABSENT if passed is None else "✓" if passed else "✗"


def sentence(candidate: Candidate) -> str:
    """Return the verdict in words: what the first gate that did not pass says, the names of the others.

    Where vLLM did not serve it, so that no gate says anything of the scores that shoppers would get, that follows.
    """
    if candidate.passed:
        return f"{candidate.name}: ship it. All {len(candidate.verdicts)} gates pass.{_not_served(candidate)}"
    if not candidate.failures:
        why = candidate.refused or "No gate was judged."
        return f"{candidate.name}: do not ship. {why.rstrip('.')}.{_not_served(candidate)}"
    first, *others = candidate.failures
    also = f" Nor do these pass: {', '.join(verdict.gate for verdict in others)}." if others else ""
    return f"{candidate.name}: do not ship. {first.gate}: {first.meaning.rstrip('.')}.{also}{_not_served(candidate)}"


def _not_served(system: System) -> str:
    """Return why no gate says anything of what vLLM would serve; empty where it served."""
    cost = system.cost_of("vllm")
    if cost is None:
        return " What vLLM serves was not measured."
    return "" if cost.visits else f" vLLM did not serve it here: {cost.unmeasured.rstrip('.')}."


# The rows of the tables


@dataclass(frozen=True)
class Summary:
    """A system on one line, as text, in the order of the terminal's columns."""

    system: System
    cells: tuple[str, ...]


def summary(comparison: Comparison) -> list[Summary]:
    """Return one row a system, the reference first: quality, drift, cost and verdict."""
    return [_summary(comparison, system) for system in (comparison.reference, *comparison.candidates)]


def _summary(comparison: Comparison, system: System) -> Summary:
    found = quality(system, "nDCG@5")
    delta: Interval | None = None
    drift: Drift | None = comparison.floor
    verdict = "reference"
    if isinstance(system, Candidate):
        delta, drift = system.delta.get("nDCG@5"), system.drift
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
    return _ABSENT


def quality(system: System, measure: str) -> Interval | None:
    """Return a measure of a system, None where it was not measured."""
    return system.quality.measures.get(measure) if system.quality else None


def times(value: float, reference: float) -> str:
    """Return the ratio of a figure to the reference's, as `0.52×`."""
    return f"{figure(value / reference, '.2f')}×" if reference else _ABSENT


@dataclass(frozen=True)
class CostCell:
    """A figure of cost: its median over visits, the smallest and largest, the ratio; `note` is the number of a reason or 0."""

    text: str
    extent: str = ""
    ratio: str = ""
    note: int = 0


@dataclass(frozen=True)
class CostRow:
    """What one system costs with one engine: a cell for each of `COST_COLUMNS`, and one for the difference of its scores."""

    system: System
    engine: str
    visits: str
    cells: tuple[CostCell, ...]
    note: int = 0


COST_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "Resident": ("resident_bytes", size),
    "Start-up": ("start_seconds", duration),
    "Pairs/s": ("pairs_per_second", significant),
    "p50": ("p50_seconds", duration),
    "p95": ("p95_seconds", duration),
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
            cell = CostCell(_ABSENT, note=table.note(why))
            table.rows.append(CostRow(system, _ABSENT, "", (cell,) * (len(COST_COLUMNS) + 1)))
    return table


def _cost_row(table: CostTable, system: System, cost: Cost, theirs: Cost | None) -> CostRow:
    engine = f"{cost.engine}, {cost.dtype}"
    if not cost.visits:
        cell = CostCell(_ABSENT, note=table.note(cost.unmeasured))
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
    return CostCell(_ABSENT, note=table.note(itself if cost.engine == "transformers" else other))


def _measured(table: CostTable, cost: Cost, theirs: Cost | None, name: str, show: Callable[[float], str]) -> CostCell:
    values = [float(getattr(visit, name)) for visit in cost.visits]
    extent = f"{show(min(values))} – {show(max(values))}" if len(values) > 1 else ""
    if theirs and theirs.visits:
        return CostCell(show(cost.median(name)), extent, times(cost.median(name), theirs.median(name)))
    why = theirs.unmeasured if theirs else "this run did not ask for it."
    note = table.note(f"No ratio: the reference was not measured with {cost.engine}: {why}")
    return CostCell(show(cost.median(name)), extent, _ABSENT, note)


@dataclass(frozen=True)
class GateRow:
    """A gate across the candidates: what it asks, what all verdicts that passed say, and each candidate's, if it has one."""

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


# The drawings


@dataclass(frozen=True)
class Point:
    """A system in a Pareto plot.

    Attributes:
        name: of the system.
        sign: ✓ or ✗ for a candidate, empty for the reference.
        x: its cost, in the unit of the axis.
        quality: its nDCG@5.
        paired: the reference's nDCG@5 plus the interval of the paired difference; None for the reference.
        front: whether no other system is as good and cheaper, or as cheap and better.
        label: where its name stands beside the plot, from 0 to 1, not closer to another than can be read.
    """

    name: str
    sign: str
    x: float
    quality: Interval
    paired: Interval | None
    front: bool
    label: float


@dataclass(frozen=True)
class Pareto:
    """Quality against one cost: who was measured, and why the others were not."""

    title: str
    x_name: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    unmeasured: tuple[tuple[str, str], ...]

    @property
    def front(self) -> list[Point]:
        """The points on the front, by cost."""
        return sorted((point for point in self.points if point.front), key=lambda point: point.x)


def pareto_plots(comparison: Comparison) -> list[Pareto]:
    """Return nDCG@5 against size on disk and against throughput in vLLM."""
    largest = max(system.disk_bytes for system in (comparison.reference, *comparison.candidates))
    unit, name = _unit(largest)
    disk = _pareto(comparison, "size on disk", f"{name} on disk: less is better", lambda s: s.disk_bytes / unit, -1)
    speed = _pareto(comparison, "throughput", "pairs a second in vLLM: more is better", _vllm_throughput, 1)
    return [disk, speed]


def _vllm_throughput(system: System) -> float | str:
    cost = system.cost_of("vllm")
    if cost is None:
        return "its throughput in vLLM was not measured in this run."
    return cost.median("pairs_per_second") if cost.visits else cost.unmeasured


def _pareto(
    comparison: Comparison, title: str, x_name: str, measure: Callable[[System], float | str], better: int
) -> Pareto:
    """Return the plot of what `measure` gives: a number, or the reason why there is none."""
    placed: list[tuple[System, float, Interval]] = []
    unmeasured = []
    for system in (comparison.reference, *comparison.candidates):
        x, y = measure(system), quality(system, "nDCG@5")
        if y is None or not math.isfinite(y.mean):
            why = system.refused if isinstance(system, Candidate) else ""
            unmeasured.append((system.name, why or "its nDCG@5 was not measured."))
        elif isinstance(x, str):
            unmeasured.append((system.name, x))
        else:
            placed.append((system, x, y))
    heights = [end for _, _, y in placed for end in (y.low, y.mean, y.high)] or [0.0, 1.0]
    x_axis, y_axis = Axis.over((0.0, *(x for _, x, _ in placed))), Axis.over(heights)
    on_front = front([(better * x, y.mean) for _, x, y in placed])
    labels = spread([y_axis.place(y.mean) for _, _, y in placed], _LABEL_GAP)
    points = tuple(
        Point(
            name=system.name,
            sign=mark(system.passed) if isinstance(system, Candidate) else "",
            x=x,
            quality=y,
            paired=_paired(comparison.reference, system),
            front=is_front,
            label=label,
        )
        for (system, x, y), is_front, label in zip(placed, on_front, labels, strict=True)
    )
    return Pareto(title, x_name, x_axis, y_axis, points, tuple(unmeasured))


def _paired(reference: System, system: System) -> Interval | None:
    base = quality(reference, "nDCG@5")
    delta = system.delta.get("nDCG@5") if isinstance(system, Candidate) else None
    if base is None or delta is None:
        return None
    return Interval(base.mean + delta.mean, base.mean + delta.low, base.mean + delta.high)


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Say of each point, on two axes of which more is better, whether no other is as good on both and better on one.

    Example:
        >>> front([(1, 9), (2, 8), (1, 8)])
        [True, True, False]
    """
    return [not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points) for x, y in points]


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return places in [0, 1] moved apart, in the same order, by `gap` or by what there is room for.

    Example:
        >>> spread([0.5, 0.5, 0.9], 0.25)
        [0.5, 0.75, 1.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, 1 / max(len(places) - 1, 1))
    moved = [0.0] * len(places)
    lowest = 0.0
    for i in order:
        moved[i] = max(places[i], lowest)
        lowest = moved[i] + gap
    highest = 1.0
    for i in reversed(order):
        moved[i] = min(moved[i], highest)
        highest = moved[i] - gap
    return moved


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: from where to where, how many, and its height from 0 to 1, logarithmic in 1 + count."""

    low: float
    high: float
    count: int
    height: float


@dataclass(frozen=True)
class Changes:
    """The score changes of all systems on the same two axes."""

    x: Axis
    counts: tuple[tuple[int, float], ...]
    floor: tuple[Bar, ...]
    candidates: tuple[tuple[str, tuple[Bar, ...]], ...]


def changes(comparison: Comparison) -> Changes:
    """Return the histograms of the signed score change: of the noise floor and of each candidate that was scored."""
    drifts = [(one.name, one.drift.changes) for one in comparison.candidates if one.drift]
    histograms = [comparison.floor.changes, *(found for _, found in drifts)]
    most = max((count for one in histograms for count in one.counts), default=0) or 1
    height: Callable[[int], float] = partial(_log_height, most=most)
    drawn = [_bars(one, height) for one in histograms]
    reach = max((abs(end) for bars in drawn for bar in bars for end in (bar.low, bar.high)), default=0.01)
    powers = [10**k for k in range(len(str(most)))]
    names = [name for name, _ in drifts]
    return Changes(
        x=Axis.over((-reach, reach)),
        counts=tuple((power, height(power)) for power in powers),
        floor=drawn[0],
        candidates=tuple(zip(names, drawn[1:], strict=True)),
    )


def _log_height(count: int, most: int) -> float:
    return math.log1p(count) / math.log1p(most)


def _bars(histogram: Histogram, height: Callable[[int], float]) -> tuple[Bar, ...]:
    """Return the bars that hold something."""
    ends = zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True)
    return tuple(Bar(low, high, count, height(count)) for low, high, count in ends if count)


def _shapes(comparison: Comparison) -> dict[str, object]:
    """Return what both templates read."""
    rows = "bad row" if comparison.skipped == 1 else "bad rows"
    systems = (comparison.reference, *comparison.candidates)
    measured = [*(one.quality for one in systems if one.quality), *comparison.floors.values()]
    bounds = [
        end for one in comparison.candidates for row in one.slices.values() for end in (row.ndcg5.low, row.ndcg5.high)
    ]
    return {
        "comparison": comparison,
        "systems": systems,
        "scored": [one for one in comparison.candidates if one.drift],
        "skipped": f", {comparison.skipped:,} {rows} left out" if comparison.skipped else "",
        "summary": summary(comparison),
        "measures": list(dict.fromkeys(name for one in measured for name in one.measures)),
        "less_is_better": _LESS_IS_BETTER,
        "meanings": {measure.name: measure.meaning for measure in MEASURES},
        "costs": cost_table(comparison),
        "cost_columns": list(COST_COLUMNS),
        "cost_measured": any(system.cost for system in systems),
        "same_cache": any(visit.cache_bytes for system in systems for cost in system.cost for visit in cost.visits),
        "gates": gate_rows(comparison),
        "paretos": pareto_plots(comparison),
        "changes": changes(comparison),
        "slice_axis": Axis.over((0.0, *(end for end in bounds if math.isfinite(end)))),
        "tags": sorted({tag for one in comparison.candidates for tag in one.slices}),
        "slices_by_loss": slices_by_loss,
        "flip_matrix": flip_matrix,
        "times": times,
    }
