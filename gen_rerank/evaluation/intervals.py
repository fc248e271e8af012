"""Means over queries with their 95% bootstrap intervals, alone and of paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import figure

RESAMPLES = 2000
# With fewer queries an interval is narrow by luck, with one it has no width at all: nothing is said of luck then, in no
# table, test or gate.
LEAST_QUERIES = 5
# Draws at a time: as many as a core's cache holds; benchmarks/bench_intervals.py measures it.
BOOTSTRAP_CELLS = 50_000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% confidence interval; as JSON `[mean, low, high]`.

    Attributes:
        mean: over queries.
        low: the lower end.
        high: the upper end.
        queries: how many there are; None where it is not known.
    """

    mean: float
    low: float
    high: float
    queries: int | None = field(default=None, compare=False, repr=False)

    @property
    def few(self) -> bool:
        """Whether there are too few queries to say what is luck: such an interval is not shown, and nothing tested."""
        return self.queries is not None and self.queries < LEAST_QUERIES

    def to_json(self) -> list[float]:
        """Return `[mean, low, high]`."""
        return [self.mean, self.low, self.high]

    @classmethod
    def from_json(cls, row: Sequence[float], queries: int | None = None) -> Interval:
        """Return the interval of `[mean, low, high]` over so many queries."""
        mean, low, high = row
        return cls(float(mean), float(low), float(high), queries)

    def shown(self, form: str = ".3f") -> str:
        """Return the mean and the interval as people read them; of few queries the mean alone.

        Example:
            >>> Interval(0.0012, -0.0021, 0.0049, 40).shown("+.4f"), Interval(0.5, 0.5, 0.5, 1).shown()
            ('+0.0012 [-0.0021, +0.0049]', '0.500')
        """
        mean, low, high = (figure(value, form) for value in self.to_json())
        return mean if self.few else f"{mean} [{low}, {high}]"

    def __str__(self) -> str:
        """Return `0.912 [0.890, 0.931]`."""
        return self.shown()


def bootstrap(values: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of per-query values with its 95% percentile bootstrap interval over queries.

    Queries, not pairs, are drawn: the pairs of a query are not independent (Sakai, "Evaluating evaluation metrics based
    on the bootstrap", SIGIR 2006). NaN marks a query for which the measure is undefined, and is left out.

    `values` are `[queries]`; the same `seed` and number of values give the same draws.

    Raises:
        BadInput: no value is defined, or one is infinite.

    Example:
        >>> bootstrap([0.5, 0.5, 0.5])
        Interval(mean=0.5, low=0.5, high=0.5)
    """
    given = np.asarray(values, dtype=np.float64)
    known = given[~np.isnan(given)]
    if given.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise BadInput("a bootstrap interval needs a list of finite values, one a query, and at least one of them")
    rng = np.random.default_rng(seed)
    n = len(known)
    means = [known[rng.integers(n, size=(rows, n))].mean(axis=1) for rows in draws(resamples, n)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(known.mean()), float(low), float(high), n)


def paired(a: npt.ArrayLike, b: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of a − b over queries with its paired bootstrap interval: the same queries drawn for both.

    `a` and `b` have the same queries in the same order; NaN in either leaves a query out. The rest is as in
    `bootstrap`.

    Raises:
        BadInput: lengths differ, or no query is defined for both.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise BadInput(f"a paired difference needs the same queries on both sides, not {len(first)} and {len(second)}")
    return bootstrap(first - second, resamples=resamples, seed=seed)


def draws(resamples: int, width: int) -> Iterable[int]:
    """Return how many resamples of so many values to draw at a time, so that they fit into a core's cache.

    Example:
        >>> list(draws(2000, 40))
        [1250, 750]
    """
    step = max(1, BOOTSTRAP_CELLS // width)
    return (min(step, resamples - start) for start in range(0, resamples, step))
