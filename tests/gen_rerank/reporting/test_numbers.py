"""Numbers: a dash for what is none, no signed zero, three significant digits, units that fit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.reporting.numbers import compact, duration, figure, significant, size


@given(
    st.floats(min_value=-1e9, max_value=1e9) | st.sampled_from([float("nan"), float("inf"), -0.0]),
    st.sampled_from([".3f", "+.4f", ".2%", ",.0f"]),
)
def test_figures_are_never_nan_nor_a_signed_zero(value, form):
    text = figure(value, form)
    assert "nan" not in text
    assert "inf" not in text
    assert text == "–" or re.search("[1-9]", text) or text[0] == "0"


@given(st.floats(min_value=1e-4, max_value=1e12))
def test_three_significant_digits(value):
    assert float(significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)
    assert "e" not in significant(value)


def test_units():
    sizes = [size(count) for count in (0, 512, 2_100_000, 1_190_000_000)]
    assert sizes == ["0 bytes", "512 bytes", "2.10 MB", "1.19 GB"]
    times = [duration(seconds) for seconds in (0.0312, 20.5, 600, 7_200)]
    assert times == ["31.2 ms", "20.5 s", "10 minutes", "2.0 hours"]


def test_counts_that_fit_over_a_bar():
    numbers = (0, 999, 1_000, 9_949, 12_345, 999_499, 999_500, 3_400_000)
    assert [compact(n) for n in numbers] == ["0", "999", "1.0k", "9.9k", "12k", "999k", "1.0M", "3.4M"]
