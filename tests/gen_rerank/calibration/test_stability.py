"""Histograms, and how far two lie apart: by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import Distribution
from gen_rerank.calibration.stability import score_histogram, stability_index

counts = st.lists(st.integers(0, 1000), min_size=20, max_size=20)


def test_bars_hold_their_lower_edge_and_the_last_one_both() -> None:
    found = score_histogram(Distribution(np.eye(11)[[0, 5, 10, 10]]))
    assert [place for place, count in enumerate(found.scores) if count] == [0, 10, 19]
    assert (sum(found.scores), found.stds[0], sum(found.stds)) == (4, 4, 4)
    widest = score_histogram(Distribution(np.array([[0.5] + [0.0] * 9 + [0.5]])))
    assert widest.stds[-1] == 1, "0.5 is the largest there is"
    assert sum(score_histogram(Distribution(np.zeros((0, 11)))).scores) == 0


def test_the_index_by_hand() -> None:
    # With half a count added the shares are 10/40 and 30/40, and then the other way round.
    expected = 2 * 0.5 * math.log(3)
    assert stability_index([9.5, 29.5], [29.5, 9.5]) == pytest.approx(expected)


@given(counts, counts)
def test_it_is_symmetric_and_zero_for_the_same(then: list[int], now: list[int]) -> None:
    assert stability_index(then, now) == pytest.approx(stability_index(now, then))
    assert stability_index(then, now) >= -1e-12
    assert stability_index(then, then) == 0
