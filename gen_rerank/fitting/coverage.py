"""How often labels lie in the intervals that distributions give: whether a model is as sure as it may be."""

from __future__ import annotations

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.fitting.judged_pairs import JudgedPairs

# Of the intervals between the quantiles 0.1 and 0.9.
COVERED = 0.8
_ROUNDING = 1e-6


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
