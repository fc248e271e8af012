"""Whether our intervals and corrections pay, beside scipy's and statsmodels': times as ratios from one run.

`gen_rerank.evaluation.metrics` draws its bootstrap intervals and corrects p-values by itself. Here the same data, seed,
resamples, and resamples at a time go through `scipy.stats.bootstrap` (percentile) and, where statsmodels is installed,
its `multipletests`, and the results are held to one another: equal draws give equal intervals; those of the calibration
error, whose draws differ, are the same to a fifth of the interval.

Run: python benchmarks/bench_intervals.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from scipy import stats

from gen_rerank.evaluation.metrics import (
    BOOTSTRAP_CELLS,
    RELIABILITY_BINS,
    RESAMPLES,
    Doubles,
    Interval,
    bootstrap,
    calibration_error,
    paired,
)
from gen_rerank.evaluation.significance import holm
from harness.command import run
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun

QUERIES = (400, 4000)
CANDIDATES = 20
COMPARISONS = 16  # of docs/results.md
HEADER = ("What", "Queries or values", "Ours, ms", "Theirs, ms", "Theirs / ours", "Largest difference")


def scipy_interval(values: Doubles) -> Interval:
    """Return what `bootstrap` returns, by scipy."""
    batch = BOOTSTRAP_CELLS // len(values)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=batch, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = map(float, found.confidence_interval)
    return Interval(float(values.mean()), low, high)


def scipy_calibration_error(queries: npt.NDArray[np.int64], predicted: Doubles, observed: Doubles) -> Interval:
    """Return what `calibration_error` returns, by scipy: query numbers are drawn, and the pairs come with them."""
    count = int(queries.max()) + 1
    gaps, sizes = np.zeros((count, RELIABILITY_BINS)), np.bincount(queries)
    place = np.minimum((predicted * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    np.add.at(gaps, (queries, place), predicted - observed)

    def error(drawn: npt.NDArray[np.int64], axis: int) -> Any:
        return np.abs(gaps[drawn].sum(axis=-2)).sum(axis=-1) / sizes[drawn].sum(axis=-1)

    numbers, batch = np.arange(count), BOOTSTRAP_CELLS // count
    found = stats.bootstrap(
        (numbers,), error, n_resamples=RESAMPLES, batch=batch, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = map(float, found.confidence_interval)
    return Interval(float(error(numbers, -1)), low, high)


def difference(one: Interval, other: Interval) -> float:
    """Return the largest difference of a bound or the mean."""
    return max(abs(a - b) for a, b in zip(one.to_json(), other.to_json(), strict=True))


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that is not timed."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def cells(what: str, size: int, ours: Callable[[], object], theirs: Callable[[], object], apart: float) -> list[str]:
    """Return a row of the table; what takes microseconds is repeated more often."""
    repeats = 100 if what == "Holm" else 5
    one, other = milliseconds(ours, repeats), milliseconds(theirs, repeats)
    return [what, f"{size:,}", f"{one:,.3f}", f"{other:,.3f}", f"{other / one:.2f}x", f"{apart:.1e}"]


def interval_rows(queries: int, seed: int) -> list[list[str]]:
    """Return the rows of the three intervals at a number of queries."""
    rng = np.random.default_rng(seed)
    a = np.clip(rng.normal(0.8, 0.2, queries), 0, 1)
    b = np.clip(a + rng.normal(0.0, 0.1, queries), 0, 1)
    pairs = np.repeat(np.arange(queries), CANDIDATES)
    predicted = rng.random(len(pairs))
    observed = np.clip(predicted + rng.normal(0.05, 0.2, len(pairs)), 0, 1)
    names = [str(number) for number in pairs.tolist()]
    apart = difference(bootstrap(a), scipy_interval(a))
    assert apart < 1e-9, "equal draws give equal intervals"
    apart_paired = difference(paired(a, b), scipy_interval(a - b))
    assert apart_paired < 1e-9, "equal draws give equal intervals"
    ours = calibration_error(names, predicted, observed)
    apart_error = difference(ours, scipy_calibration_error(pairs, predicted, observed))
    assert apart_error < 0.2 * (ours.high - ours.low), "other draws of the same give almost the same interval"
    return [
        cells("bootstrap", queries, lambda: bootstrap(a), lambda: scipy_interval(a), apart),
        cells("paired", queries, lambda: paired(a, b), lambda: scipy_interval(a - b), apart_paired),
        cells(
            "calibration error",
            queries,
            lambda: calibration_error(names, predicted, observed),
            lambda: scipy_calibration_error(pairs, predicted, observed),
            apart_error,
        ),
    ]


def holm_row(seed: int) -> list[str]:
    """Return the row of Holm's correction."""
    multipletests = import_module("statsmodels.stats.multitest").multipletests
    p_values = np.random.default_rng(seed).random(COMPARISONS).tolist()
    apart = float(np.abs(multipletests(p_values, method="holm")[1] - holm(p_values)).max())
    assert apart < 1e-12, "both are Holm's"
    return cells("Holm", COMPARISONS, lambda: holm(p_values), lambda: multipletests(p_values, method="holm"), apart)


def main(seed: Annotated[int, typer.Option(help="of the data")] = 0) -> None:
    """Measure and print."""
    rows = [row for queries in QUERIES for row in interval_rows(queries, seed)]
    if find_spec("statsmodels"):
        rows.append(holm_row(seed))
    about = ThisRun.now(("numpy", "scipy", "statsmodels"))
    console = wide_console(130)
    console.print(f"{about.date}, {about.machine}; {about.versions}", soft_wrap=True)
    FigureTable(f"Ours beside scipy and statsmodels, {RESAMPLES:,} resamples", HEADER, rows).show(console)


if __name__ == "__main__":
    run(main)
