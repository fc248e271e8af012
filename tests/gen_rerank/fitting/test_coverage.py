"""How often labels lie in the intervals, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.bins import Distribution
from gen_rerank.fitting.coverage import coverage
from gen_rerank.fitting.judged_pairs import JudgedPairs

PAIRS = JudgedPairs(
    logits=np.zeros((3, 11)),
    values=tuple(np.arange(11) / 10),
    relevance=np.array([1.0, 0.2, 0.5]),
    labels=((1.0, 0.9), (0.2,), (0.5,)),
    queries=np.array([0, 0, 1]),
    folds=np.array([0, 0, 1]),
)


def test_coverage_counts_every_label_and_the_ends() -> None:
    """A sure distribution holds its own bin alone; one of two labels lies there."""
    assert coverage(PAIRS, Distribution(np.eye(11)[[9, 6, 3]])).tolist() == pytest.approx([0.25, 0.0])
    broad = Distribution(np.full((3, 11), 1 / 11))
    assert coverage(PAIRS, broad).tolist() == pytest.approx([0.75, 1.0]), "from 0.1 to 0.9"
