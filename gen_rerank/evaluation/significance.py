"""Which differences between systems are more than luck: paired tests over queries, corrected for their number.

What a system's values are `gen_rerank.evaluation.evaluation` knows, and intervals are `metrics`'. Which systems are
compared in which measures, the caller says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen_rerank.evaluation.evaluation import Evaluation, difference
from gen_rerank.evaluation.metrics import Doubles, Interval, draws

RESAMPLES = 10_000
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """One comparison in one measure.

    Attributes:
        interval: the mean of first − second over queries, with its paired 95% bootstrap interval.
        p: of "the mean is 0", by `paired_p`; None where there are too few queries for a test.
        holm: the same, corrected for all that was tested together.
    """

    interval: Interval
    p: float | None
    holm: float | None

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.holm is not None and self.holm < SIGNIFICANT

    def to_json(self) -> dict[str, Any]:
        """Return interval and p-values with six decimals, null where nothing was tested."""
        interval = [round(value, 6) for value in self.interval.to_json()]
        p, corrected = (None if value is None else round(value, 6) for value in (self.p, self.holm))
        return {"interval": interval, "queries": self.interval.queries, "p": p, "holm": corrected}


def differences(
    systems: Mapping[str, Evaluation], comparisons: Iterable[tuple[str, str]], measures: Sequence[str]
) -> dict[tuple[str, str], dict[str, Difference]]:
    """Return first − second for each comparison, in the measures that both systems have.

    Holm's correction runs over all that is tested in one call: comparisons × measures. With fewer than `LEAST_QUERIES`
    queries nothing is tested.

    Args:
        systems: by name; a comparison with a name that is not among them is left out.
        comparisons: pairs of names.
        measures: such as `nDCG@5`; those that have no value for each query are left out.

    Raises:
        BadInput: two systems were not evaluated on the same data.

    Example:
        >>> differences({"A": a, "B": b}, [("B", "A")], ["nDCG@5"])["B", "A"]["nDCG@5"].holm  # doctest: +SKIP
        0.0213
    """
    found: dict[tuple[str, str, str], tuple[Interval, float | None]] = {}
    for first, second in comparisons:
        if first not in systems or second not in systems:
            continue
        a, b = systems[first], systems[second]
        intervals = difference(a, b)
        for measure in measures:
            if measure in intervals:
                gap = intervals[measure]
                p = None if gap.few else paired_p(a.per_query[measure], b.per_query[measure])
                found[first, second, measure] = gap, p
    corrected = iter(holm([p for _, p in found.values() if p is not None]))
    table: dict[tuple[str, str], dict[str, Difference]] = {}
    for (first, second, measure), (interval, p) in found.items():
        adjusted = None if p is None else next(corrected)
        table.setdefault((first, second), {})[measure] = Difference(interval, p, adjusted)
    return table


def paired_p(a: Doubles, b: Doubles, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Return the two-sided p-value of "the mean of a − b is 0", by a paired bootstrap over queries.

    The differences are shifted to a mean of 0, and p is the share of resamples whose mean is as far from 0 as the
    observed one (Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006; the observed one counts as
    a resample). `a` and `b` are `[queries]`; NaN in either leaves a query out.

    Example:
        >>> paired_p(np.array([0.5, 0.7]), np.array([0.5, 0.7]))
        1.0
    """
    gaps = a - b
    gaps = gaps[~np.isnan(gaps)]
    shifted, n, rng = gaps - gaps.mean(), len(gaps), np.random.default_rng(seed)
    means = np.concatenate([shifted[rng.integers(n, size=(rows, n))].mean(axis=1) for rows in draws(resamples, n)])
    as_far = np.abs(means) >= abs(gaps.mean()) - 1e-12  # equal up to rounding is equal
    return float((1 + as_far.sum()) / (1 + resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the given order.

    By Holm's step-down method ("A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics, 1979): the smallest of n is multiplied by n, the next by n − 1, and so on, each at least what came
    before and at most 1. Below α after that, all are significant together at level α.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
