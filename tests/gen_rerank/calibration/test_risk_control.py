"""Bounds and walks on numbers that one can check by hand; coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.calibration.risk_control import kept_steps, least_queries, p_value, upper_bound


def test_45_queries_without_a_loss_promise_5_percent_at_90() -> None:
    """(1 - 0.05) ** 45 is 0.0994 and (1 - 0.05) ** 44 is 0.1047."""
    assert p_value(0.0, 45, 0.05) == pytest.approx(0.95**45)
    assert p_value(0.0, 45, 0.05) <= 0.1 < p_value(0.0, 44, 0.05)
    assert least_queries(0.0, 0.05, 0.9) == 45


def test_a_mean_at_the_limit_says_nothing() -> None:
    assert p_value(np.array([0.05, 0.5, 1.0]), 1000, 0.05).tolist() == [1.0, 1.0, 1.0]
    assert least_queries(0.05, 0.05, 0.9) is None


def test_no_queries_promise_nothing() -> None:
    assert p_value(0.0, 0, 0.05) == 1.0
    assert upper_bound(0.0, 0, 0.9) == 1.0
    assert kept_steps(np.zeros(4), 0, 0.05, 0.9) == 0


def test_the_p_value_is_the_smaller_of_hoeffdings_and_bentkus() -> None:
    """For a mean of 0.02 of 200 queries against 0.05, by hand."""
    from scipy.stats import binom

    h = 0.02 * math.log(0.02 / 0.05) + 0.98 * math.log(0.98 / 0.95)
    assert p_value(0.02, 200, 0.05) == pytest.approx(min(math.exp(-200 * h), math.e * binom.cdf(4, 200, 0.05)))


@given(st.floats(0, 1), st.integers(1, 3000), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_bound_is_where_the_p_value_turns(mean: float, queries: int, confidence: float) -> None:
    bound = float(upper_bound(mean, queries, confidence))
    assert mean <= bound <= 1
    if bound < 1 - 1e-6:
        assert p_value(mean, queries, bound + 1e-6) <= 1 - confidence + 1e-9
    if bound > mean + 1e-6:
        assert p_value(mean, queries, bound - 1e-6) >= 1 - confidence - 1e-9


def test_the_bound_of_nothing_lost_is_exact() -> None:
    assert upper_bound(0.0, 40, 0.9) == pytest.approx(1 - 0.1 ** (1 / 40), abs=1e-9)


def test_the_walk_ends_at_the_first_step_that_is_not_kept() -> None:
    """What lies behind it is not looked at, however good: that is what keeps the error of all steps at 10%."""
    means = np.array([0.0, 0.0, 0.04, 0.0])
    assert kept_steps(means, 100, 0.05, 0.9) == 2
    assert kept_steps(means[::-1], 100, 0.05, 0.9) == 1
    assert kept_steps(np.zeros(3), 44, 0.05, 0.9) == 0


def test_a_promise_is_broken_in_at_most_a_tenth_of_the_draws() -> None:
    """Losses of new queries are 0 or a third; whoever promises 5% is wrong in at most 10% of 2,000 draws."""
    rng = np.random.default_rng(0)
    risk = 0.052  # hardly above the limit: the hardest case
    losses = rng.random((2000, 400)) < risk * 3
    found = p_value(losses.mean(axis=1) / 3, 400, 0.05)
    assert (found <= 0.1).mean() <= 0.1


def test_how_many_queries_would_do_does() -> None:
    needed = least_queries(0.03, 0.05, 0.9)
    assert needed is not None
    assert p_value(0.03, needed, 0.05) <= 0.1
    assert p_value(0.03, needed // 2, 0.05) > 0.1
