"""Which systems differ in what: paired differences, their p-values, and the correction for their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gen_rerank.evaluation.evaluation import HEADLINE, MSE, RPS, Evaluation, difference
from gen_rerank.evaluation.metrics import MEASURES, Doubles, Interval, holm
from results_parts.measured import ADAPTED, BM25, CROSS_ENCODER, NANO

COMPARISONS = ((ADAPTED, NANO), (ADAPTED, BM25), (CROSS_ENCODER, BM25), (NANO, CROSS_ENCODER))
MRR = next(measure.name for measure in MEASURES if measure.name.startswith("MRR"))
RANKING = (HEADLINE, "nDCG@10", MRR)
DISTRIBUTIONS = (RPS, MSE)  # measured a query, as the ranking is; ECE is not
COMPARED = (*RANKING, *DISTRIBUTIONS)
RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """One comparison in one measure: first − second, its p-value, and the same corrected for all of the table."""

    interval: Interval
    p: float
    holm: float


def differences(systems: Mapping[str, Evaluation]) -> dict[tuple[str, str], dict[str, Difference]]:
    """Return the comparisons whose systems are both there, each in the measures that both have.

    Holm's correction runs over all of them together: comparisons × measures of one shop are one family.
    """
    found: dict[tuple[str, str, str], tuple[Interval, float]] = {}
    for first, second in COMPARISONS:
        if first not in systems or second not in systems:
            continue
        a, b = systems[first], systems[second]
        intervals = difference(a, b)
        for measure in COMPARED:
            if measure in intervals:
                found[first, second, measure] = intervals[measure], paired_p(a.per_query[measure], b.per_query[measure])
    corrected = holm([p for _, p in found.values()])
    table: dict[tuple[str, str], dict[str, Difference]] = {}
    for ((first, second, measure), (interval, p)), adjusted in zip(found.items(), corrected, strict=True):
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
    drawn = np.random.default_rng(seed).integers(len(gaps), size=(resamples, len(gaps)))
    means = (gaps - gaps.mean())[drawn].mean(axis=1)
    as_far = np.abs(means) >= abs(gaps.mean()) - 1e-12  # equal up to rounding is equal
    return float((1 + as_far.sum()) / (1 + resamples))
