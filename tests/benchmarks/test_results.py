"""The p-values of the results' tables."""

from __future__ import annotations

import numpy as np
import pytest

from results_parts.compared import paired_p


def test_the_paired_bootstrap_agrees_with_the_t_test_where_that_is_right():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.2, 200)
    for shift in (0.0, 0.02, 0.03):
        b = a + rng.normal(shift, 0.15, 200)
        assert paired_p(a, b) == pytest.approx(ttest_rel(a, b).pvalue, abs=0.02)


def test_queries_without_a_measure_are_left_out_and_equal_systems_do_not_differ():
    a = np.array([0.1, np.nan, 0.4, 0.9])
    assert paired_p(a, a) == 1.0
    assert paired_p(a, np.array([0.0, 0.5, 0.3, 0.8])) == paired_p(a[[0, 2, 3]], np.array([0.0, 0.3, 0.8]))
