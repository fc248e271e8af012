"""What tiers do for queries, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.bins import Distribution
from gen_rerank.fitting.judged_pairs import JudgedPairs
from gen_rerank.fitting.tier_figures import coverage, tier_figures

# Two queries, sure of what they say: 0.9 and 0.6 of things that are worth 1.0 and 0.2; 0.3 of one that is worth 0.5.
SURE = Distribution(np.eye(11)[[9, 6, 3]])
PAIRS = JudgedPairs(
    logits=np.zeros((3, 11)),
    values=tuple(np.arange(11) / 10),
    relevance=np.array([1.0, 0.2, 0.5]),
    labels=((1.0, 0.9), (0.2,), (0.5,)),
    queries=np.array([0, 0, 1]),
    folds=np.array([0, 0, 1]),
)


def test_wrong_missed_and_silent() -> None:
    found = tier_figures(PAIRS, SURE, {"exact": 0.8, "close": 0.5})
    assert found["exact"].wrong.tolist() == [0.0, 0.0]
    assert found["exact"].shown.tolist() == [1.0, 0.0]
    assert found["exact"].silent.tolist() == [0.0, 1.0]
    assert found["close"].wrong.tolist() == [0.5, 0.0]
    assert found["close"].missed.tolist() == [0.0, 1.0]
    assert np.isnan(found["exact"].missed[1])
    assert found["exact"].to_json()["missed"] == [0.0, 0.0, 0.0]


def test_coverage_counts_every_label_and_the_ends() -> None:
    """A sure distribution holds its own bin alone; one of two labels lies there."""
    assert coverage(PAIRS, SURE).tolist() == pytest.approx([0.25, 0.0])
    broad = Distribution(np.full((3, 11), 1 / 11))
    assert coverage(PAIRS, broad).tolist() == pytest.approx([0.75, 1.0]), "from 0.1 to 0.9"
