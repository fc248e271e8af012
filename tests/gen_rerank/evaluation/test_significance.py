"""Which differences are more than luck: p-values and their correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, MSE, RPS, evaluate
from gen_rerank.evaluation.floors import random_scores
from gen_rerank.evaluation.intervals import paired
from gen_rerank.evaluation.significance import differences, holm, paired_p


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


def test_holm_by_hand():
    # Sorted: 0.005 · 4, 0.01 · 3, 0.03 · 2, 0.04 · 1, each at least what came before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_lies_between_the_raw_values_and_bonferroni(p_values):
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert raw <= corrected <= min(1.0, len(p_values) * raw) + 1e-12


def test_differences_are_one_family(judged, noisy):
    """Three comparisons in one measure, and one of a name that is not there: Holm's correction counts three."""
    systems = {
        "A": evaluate("A", judged, noisy),
        "B": evaluate("B", judged, noisy.mean[::-1]),
        "C": evaluate("C", judged, random_scores(judged)),
    }
    asked = [("B", "A"), ("C", "A"), ("C", "B"), ("D", "A")]
    found = differences(systems, asked, [HEADLINE])
    assert list(found) == asked[:3]
    rows = [row[HEADLINE] for row in found.values()]
    assert [row.holm for row in rows] == holm([row.p for row in rows])
    for (first, second), row in zip(asked, rows, strict=False):
        a, b = (systems[name].per_query[HEADLINE] for name in (first, second))
        assert row.interval == paired(a, b)
        assert row.p == paired_p(a, b)
        assert row.significant == (row.holm < 0.05)
        assert row.to_json()["interval"][0] == round(row.interval.mean, 6)


def test_a_measure_that_one_lacks_is_left_out_and_other_data_are_refused(judged, by_hand, noisy):
    model, floor = evaluate("A", judged, noisy), evaluate("B", judged, random_scores(judged))
    found = differences({"A": model, "B": floor}, [("A", "B")], [HEADLINE, RPS, MSE])
    assert list(found["A", "B"]) == [HEADLINE]
    other = evaluate("C", by_hand, [0.4, 0.3, 0.2, 0.1])
    with pytest.raises(BadInput, match="different data"):
        differences({"A": model, "C": other}, [("A", "C")], [HEADLINE])
