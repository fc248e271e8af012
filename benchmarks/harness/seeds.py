"""Several trainings of one thing, which differ in their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gen_rerank.evaluation.evaluation import Evaluation


def mean_over_seeds(evaluations: Sequence[Evaluation], measure: str) -> list[float]:
    """Return the value of each query, averaged over the trainings."""
    return np.mean([found.per_query[measure] for found in evaluations], axis=0).tolist()
