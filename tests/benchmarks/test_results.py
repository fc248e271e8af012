"""The two small statistics of the results' tables."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    results = importlib.import_module("results")
holm, paired_p = results.holm, results.paired_p


def test_holm_by_hand():
    # Sorted: 0.005 · 4, 0.01 · 3, 0.03 · 2, 0.04 · 1, each at least what came before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_lies_between_the_raw_values_and_bonferroni(p_values):
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert raw <= corrected <= min(1.0, len(p_values) * raw) + 1e-12


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
