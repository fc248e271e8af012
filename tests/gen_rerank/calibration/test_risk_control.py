"""Bounds and walks on numbers that one can check by hand; how often they are wrong by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.calibration.risk_control import hoeffding_bentkus, kept_steps, least_queries, p_value, upper_bound

NOTHING = np.zeros(45)


def test_45_queries_without_a_loss_promise_5_percent_at_90() -> None:
    """(1 - 0.05) ** 45 is 0.0994 and (1 - 0.05) ** 44 is 0.1047."""
    assert p_value(NOTHING, 0.05, 0.9) == pytest.approx(0.95**45)
    assert p_value(NOTHING, 0.05, 0.9) <= 0.1 < p_value(NOTHING[:44], 0.05, 0.9)
    assert least_queries([0.0], 0.05, 0.9) == 45
    for queries in range(45, 400):
        assert p_value(np.zeros(queries), 0.05, 0.9) <= 0.1, "more do not promise less"


def test_losses_at_the_limit_say_little() -> None:
    assert p_value(np.full(1000, 0.05), 0.05, 0.9) == 1.0
    assert p_value(np.ones(1000), 0.05, 0.9) == 1.0
    assert least_queries([0.05], 0.05, 0.9) is None


def test_no_queries_promise_nothing() -> None:
    none = np.zeros((4, 0))
    assert p_value(none, 0.05, 0.9).tolist() == [1.0] * 4
    assert upper_bound(none[0], 0.9) == 1.0
    assert kept_steps(none, 0.05, 0.9) == 0
    assert least_queries(none[0], 0.05, 0.9) is None


def test_few_queries_are_judged_by_hoeffding_and_bentkus() -> None:
    """For one of 30 that loses a half, against 0.2: the smaller one, by hand."""
    from scipy.stats import binom

    losses = np.zeros(30)
    losses[3] = 0.5
    m = 0.5 / 30
    h = m * math.log(m / 0.2) + (1 - m) * math.log((1 - m) / 0.8)
    wanted = min(math.exp(-30 * h), math.e * binom.cdf(1, 30, 0.2))
    assert hoeffding_bentkus(m, 30, 0.2) == pytest.approx(wanted)


def test_one_bet_by_hand() -> None:
    """The first bet: sqrt(2 log 10 / (n / 4)) of the capital, on a loss of 0 against 0.5; with n = 100 it is 0.4292."""
    bet = math.sqrt(2 * math.log(10) / 25)
    losses = np.array([0.0] + [0.5 - 1e-9] * 99)  # on which nothing is won or lost
    assert p_value(losses, 0.5, 0.9) == pytest.approx(1 / (1 + 0.5 * bet))
    losses[1:] = 0.52
    assert p_value(losses, 0.5, 0.9) == 1.0, "what was won on the way does not count"


@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_bound_is_where_the_p_value_turns(seed: int, queries: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    losses = (rng.random(queries) < rng.random()) * rng.random(queries)
    bound = upper_bound(losses, confidence)
    assert losses.mean() <= bound <= 1
    if bound < 0.999:
        assert p_value(losses, bound, confidence) <= 1 - confidence + 1e-9


def test_the_bound_of_nothing_lost_is_exact() -> None:
    assert upper_bound(np.zeros(40), 0.9) == pytest.approx(1 - 0.1 ** (1 / 40), abs=2e-3)


def test_the_walk_ends_at_the_first_step_that_is_not_kept() -> None:
    """What lies behind it is not looked at, however good: that is what keeps the error of all steps at 10%."""
    steps = np.zeros((200, 100))
    steps[130] = 0.04
    assert kept_steps(steps, 0.05, 0.9) == 130
    assert kept_steps(steps[:130], 0.05, 0.9) == 130
    assert kept_steps(steps[130:], 0.05, 0.9) == 0
    assert kept_steps(np.zeros((3, 44)), 0.05, 0.9) == 0


@pytest.mark.parametrize("loss", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("queries", [45, 60, 200, 600])
def test_a_promise_is_broken_in_at_most_a_tenth_of_the_draws(loss: float, queries: int) -> None:
    """The hardest case: queries lose this much or nothing, 5% on average, so that every promise of 5% is wrong."""
    rng = np.random.default_rng(0)
    drawn = (rng.random((3000, queries)) < 0.05 / loss) * loss
    share = (p_value(drawn, 0.05, 0.9) <= 0.1).mean()
    assert share <= 0.1 + 2 * math.sqrt(0.1 * 0.9 / 3000)


def test_how_many_queries_would_do_does() -> None:
    losses = np.array([0.0] * 9 + [0.3])
    needed = least_queries(losses, 0.05, 0.9)
    assert needed is not None
    assert p_value(np.resize(losses, needed), 0.05, 0.9) <= 0.1
    assert p_value(np.resize(losses, needed // 2), 0.05, 0.9) > 0.1


def test_betting_needs_fewer_queries_than_the_mean_alone() -> None:
    """2.7% lost in small parts, as rerankers lose: 150 queries do here, and not by Hoeffding and Bentkus."""
    losses = np.resize([0.27] + [0.0] * 9, 150)
    assert p_value(losses, 0.05, 0.9) <= 0.1 < hoeffding_bentkus(losses.mean(), 150, 0.05)
