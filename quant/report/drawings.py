"""The shapes of the report's drawings: quality against cost, and histograms of how the scores moved.

Here is where things lie, from 0 to 1; the template draws them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gen_rerank.evaluation.evaluation import HEADLINE
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.reporting.axis import Axis
from gen_rerank.reporting.numbers import size_unit
from quant.comparison import Candidate, Comparison, Histogram, System
from quant.report.rows import quality
from quant.report.words import mark

_LABEL_GAP = 0.07


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
    unit, name = size_unit(largest)
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
        x, y = measure(system), quality(system, HEADLINE)
        if y is None or not math.isfinite(y.mean):
            why = system.refused if isinstance(system, Candidate) else ""
            unmeasured.append((system.name, why or f"its {HEADLINE} was not measured."))
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
    base = quality(reference, HEADLINE)
    delta = system.delta.get(HEADLINE) if isinstance(system, Candidate) else None
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
