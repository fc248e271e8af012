"""The tables of real.py: one row a system, with intervals, and its paired difference to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gen_rerank.evaluation.evaluation import ECE, HEADLINE, RPS
from gen_rerank.evaluation.intervals import Interval, bootstrap, paired
from gen_rerank.evaluation.tables import judged
from gen_rerank.reporting.numbers import ABSENT, figure, significant
from harness.seeds import mean_over_seeds
from harness.tables import FigureTable
from real_parts.measured import LEAST_PRODUCTS, RealSystem

RANKING = ("nDCG@1", HEADLINE, "nDCG@10")
COMPARED = (HEADLINE, RPS)
_SIGNED = "+.3f"


@dataclass(frozen=True)
class SystemRow:
    """A row: one system, or the trainings of one variant, which differ in their seeds.

    Attributes:
        runs: one a seed.
        against: what they are compared with, one a seed.
        minutes: that one training took, the start of its process included.
        trained: pairs a second.
    """

    runs: tuple[RealSystem, ...]
    against: tuple[RealSystem, ...] | None = None
    minutes: float | None = None
    trained: float | None = None

    @property
    def name(self) -> str:
        """The system's."""
        return self.runs[0].name

    def interval(self, measure: str) -> Interval | None:
        """Return the mean over seeds with its interval over queries; None where the system has no such measure."""
        values = _values(self.runs, measure)
        return None if values is None else bootstrap(values)

    def difference(self, measure: str) -> Interval | None:
        """Return the paired difference to `against`; None where there is none, or no such measure."""
        if self.against is None:
            return None
        ours, theirs = _values(self.runs, measure), _values(self.against, measure)
        return None if ours is None or theirs is None else paired(ours, theirs)

    def calibration(self) -> str:
        """Return the calibration error, which has no value a query: of several seeds the mean alone."""
        found = [one.whole.calibrated[ECE] for one in self.runs if ECE in one.whole.calibrated]
        if len(found) == 1:
            return str(found[0])
        return figure(float(np.mean([one.mean for one in found]))) if found else ABSENT

    def scored(self) -> float | None:
        """Return the pairs a second of scoring, the mean over seeds."""
        speeds = [one.pairs_per_second for one in self.runs if one.pairs_per_second is not None]
        return float(np.mean(speeds)) if speeds else None


def _values(runs: Sequence[RealSystem], measure: str) -> list[float] | None:
    """Return the value of each query: of a ranking the queries with ten or more products, of distributions all."""
    evaluations = [one.deep if measure in RANKING else one.whole for one in runs]
    return mean_over_seeds(evaluations, measure) if measure in evaluations[0].per_query else None


def figures(title: str, rows: Sequence[SystemRow], *, trained: bool = False) -> FigureTable:
    """Return one row a system.

    Args:
        title: of what.
        rows: of one split.
        trained: whether the systems were trained here, and are compared with one another.
    """
    header = ["system", *RANKING, RPS, ECE, "scored, pairs/s"]
    if trained:
        header += [*(f"Δ{name}" for name in COMPARED), "against", "trained, pairs/s", "minutes"]
    return FigureTable(title, header, [_row(one, trained) for one in rows], _caption(rows))


def _row(row: SystemRow, trained: bool) -> list[str]:
    cells = [row.name, *(_shown(row.interval(name)) for name in (*RANKING, RPS)), row.calibration()]
    cells.append(_number(row.scored()))
    if trained:
        cells += [_shown(row.difference(name), _SIGNED) for name in COMPARED]
        cells += [row.against[0].name if row.against else ABSENT, _number(row.trained), _number(row.minutes)]
    return cells


def gaps(title: str, rows: Sequence[SystemRow]) -> FigureTable:
    """Return the paired differences of the rows that are compared with another."""
    compared = [row for row in rows if row.against is not None]
    cells = [
        [f"{row.name} − {row.against[0].name}", *(_shown(row.difference(name), _SIGNED) for name in RANKING)]
        for row in compared
        if row.against is not None
    ]
    return FigureTable(title, ["paired difference", *RANKING], cells)


def _caption(rows: Sequence[SystemRow]) -> str:
    first = rows[0].runs[0]
    seeds = max(len(row.runs) for row in rows)
    over = f" of the mean over {seeds} trainings" if seeds > 1 else ""
    used = sorted({one.scored_with for row in rows for one in row.runs if one.scored_with})
    deep, whole = (judged(one.queries, one.pairs) for one in (first.deep, first.whole))
    return (
        f"Mean [95% percentile bootstrap interval over queries{over}]. nDCG: queries with {LEAST_PRODUCTS} or more "
        f"judged products ({deep}); RPS and ECE, of which lower is better: all ({whole}). "
        f"Scored with: {', '.join(used) or 'no model'}."
    )


def _shown(interval: Interval | None, form: str = ".3f") -> str:
    return ABSENT if interval is None else interval.shown(form)


def _number(value: float | None) -> str:
    return ABSENT if value is None else significant(value)
