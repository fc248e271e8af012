"""What so many queries can show: by hand, and that the numbers agree with what happens when it is tried."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.evaluation.power import Power


def test_by_hand():
    found = Power.of([0.1, -0.1, math.nan, 0.1, -0.1])
    assert (found.queries, found.mean) == (4, 0.0)
    assert found.spread == pytest.approx(math.sqrt(0.04 / 3))
    # 1.960 + 0.842 standard errors: a two-sided 5%, and four times in five.
    assert found.detectable == pytest.approx((1.959964 + 0.841621) * found.spread / 2, rel=1e-6)
    assert Power(100, 0.0, 0.1).queries_for(0.1 * 2.8016) == 1
    assert Power(100, 0.0, 0.1).queries_for(0.01 * 2.8) == 101


@given(st.integers(2, 10_000), st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_so_many_queries_as_are_needed_are_enough_and_one_less_is_not(queries, spread, gain):
    needed = Power(queries, 0.0, spread).queries_for(gain)
    assert Power(needed, 0.0, spread).detectable <= gain * (1 + 1e-9)
    if needed > 1:
        assert Power(needed - 1, 0.0, spread).detectable > gain * (1 - 1e-9)


def test_a_difference_of_that_size_is_shown_four_times_in_five():
    rng = np.random.default_rng(0)
    queries, spread = 50, 0.2
    gain = Power(queries, 0.0, spread).detectable
    samples = rng.normal(gain, spread, (4000, queries))
    lower = samples.mean(axis=1) - 1.96 * samples.std(axis=1, ddof=1) / math.sqrt(queries)
    assert np.mean(lower > 0) == pytest.approx(0.8, abs=0.02)
