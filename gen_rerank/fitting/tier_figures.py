"""What tiers do for queries: how many are shown wrong things, miss something or see nothing; all of them, and by slice.

The thresholds are given; how they were found is not asked. `evaluate` may ask the same of a split that chose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.calibration.promises import Loss, TierLosses
from gen_rerank.calibration.tiers import THRESHOLDS, Tier
from gen_rerank.evaluation.intervals import Interval, bootstrap
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.fitting.judged_pairs import JudgedPairs

# Of the intervals between the quantiles 0.1 and 0.9.
COVERED = 0.8
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class TierFigures:
    """What one tier does for each query.

    Attributes:
        wrong: `[queries]`, the share of shown products that are not what the tier says; 0 where nothing is shown.
        missed: `[queries]`, the share of fitting products that fall below; NaN for a query without any.
        shown: `[queries]`, how many products reach the threshold.
    """

    wrong: Doubles
    missed: Doubles
    shown: Doubles

    def loss(self, loss: Loss) -> Doubles:
        """Return one of the two, `[queries]`."""
        return self.wrong if loss == "wrong" else self.missed

    @property
    def silent(self) -> Doubles:
        """1 for each query that shows nothing in this tier or above, else 0, `[queries]`."""
        return (self.shown == 0).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return means over queries with their intervals."""
        named = {"wrong": self.wrong, "missed": self.missed, "shows_nothing": self.silent}
        return {name: None if (found := mean_of(row)) is None else found.to_json() for name, row in named.items()}


def tier_figures(
    pairs: JudgedPairs, distribution: Distribution, thresholds: Mapping[str, float]
) -> dict[Tier, TierFigures]:
    """Return what each tier does for each query.

    Args:
        pairs: their relevance and their queries.
        distribution: one row a pair.
        thresholds: by tier, both.
    """
    found: dict[Tier, TierFigures] = {}
    for tier in THRESHOLDS:
        at = TierLosses.of(tier, distribution.mean, pairs.relevance, pairs.queries, [thresholds[tier]])
        found[tier] = TierFigures(at.wrong[0], at.missed[0], at.shown[0].astype(np.float64))
    return found


def coverage(pairs: JudgedPairs, distribution: Distribution) -> Doubles:
    """Return the share of labels between the quantiles 0.1 and 0.9 of their distributions, by query, `[queries]`.

    Relevance has eleven bins, and the ends count as inside: where distributions are right it is 80% or more.
    """
    low, high = (distribution.quantile(level).astype(np.float64) for level in (0.1, 0.9))
    inside = [
        np.mean([a - _ROUNDING <= label <= b + _ROUNDING for label in labels])
        for labels, a, b in zip(pairs.labels, low, high, strict=True)
    ]
    return pairs.query_means(inside)


def mean_of(values: Doubles) -> Interval | None:
    """Return the mean of `[queries]` values with its interval; None where none is defined."""
    return None if np.isnan(values).all() else bootstrap(values)
