"""How far apart two groups of scores lie, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.fitting.separation import separation

QUERIES = np.repeat(np.arange(10), 2)


def test_apart() -> None:
    found = separation("close", np.tile([0.9, 0.2], 10), np.tile([1.0, 0.0], 10), QUERIES)
    assert (found.overlap, found.is_clean, found.without) == (0.0, True, 0)
    assert found.f1 is not None
    assert found.threshold is not None
    assert found.f1.to_json() == [1.0, 1.0, 1.0]
    assert 0.2 < found.threshold.mean <= 0.9
    assert found.sentence.startswith(
        "close (relevance 0.5 or more): a clean separation: 0% of the scores overlap, best F1 1.00"
    )


def test_alike() -> None:
    """Whoever shows everything finds 10 good ones among 20: precision 1/2, recall 1, F1 2/3."""
    found = separation("exact", np.full(20, 0.5), np.tile([1.0, 0.0], 10), QUERIES)
    assert (found.overlap, found.is_clean) == (1.0, False)
    assert found.f1 is not None
    assert found.f1.mean == pytest.approx(2 / 3)
    assert "no clean separation" in found.sentence


def test_half_of_the_scores_overlap() -> None:
    scores = [0.9, 0.5, 0.5, 0.1]
    found = separation("exact", scores, [1.0, 1.0, 0.0, 0.0], np.array([0, 0, 1, 1]))
    assert found.overlap == pytest.approx(0.5)
    assert found.without == 1
    assert "1 of 2 queries have no such product" in found.sentence
    assert "[" not in found.sentence, "two queries have no interval"


def test_nothing_good_and_nothing_bad() -> None:
    found = separation("exact", [0.9, 0.1], [0.0, 0.0], np.array([0, 1]))
    assert (found.overlap, found.f1, found.without) == (None, None, 2)
    assert found.sentence == "exact (relevance 0.8 or more): 2 of 2 queries have no such product"
    alone = separation("exact", [0.9, 0.1], [1.0, 1.0], np.array([0, 1]))
    assert alone.overlap is None
    assert alone.f1 is not None
    assert alone.f1.mean == 1.0
