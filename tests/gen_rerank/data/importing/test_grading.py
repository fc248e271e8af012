"""Scales: what a grade is worth, checked by hand; what is written comes back to the last bit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gen_rerank.data.importing.grading import NumberScale, WordScale, number_scale, read_scale
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput


@pytest.mark.parametrize(
    ("scale", "grade", "relevance"),
    [
        ("0-3", 3, 1.0),
        ("0-3", "2", 2 / 3),
        ("0-3", 1.0, 1 / 3),
        ("0-3", True, 1 / 3),
        ("1-5", "2", 0.25),
        ("1..3", "2.33", 0.665),
        ("-1-1", 0, 0.5),
        ("5-1", 2, 0.75),
        ("0 – 100", "7", 0.07),
        ("no=0, partly=0.5, yes=1", "Partly ", 0.5),
        ("E=1,S=0.1,C=0.01,I=0", "c", 0.01),
    ],
)
def test_a_grade_is_worth_what_one_reckons_by_hand(scale, grade, relevance):
    assert read_scale(scale).relevance(grade) == relevance


@pytest.mark.parametrize("grade", [4, "-1", "3.001", 1e300])
def test_a_grade_outside_of_the_scale_is_refused(grade):
    with pytest.raises(BadValue, match="outside of the scale 0-3"):
        read_scale("0-3").relevance(grade)


@pytest.mark.parametrize("grade", ["good", "2,5", None, float("nan"), "", [2], "1e9999"])
def test_what_is_no_grade_is_refused(grade):
    with pytest.raises(BadValue):
        read_scale("0-3").relevance(grade)
    with pytest.raises(BadValue):
        read_scale("no=0,yes=1").relevance(grade)


@pytest.mark.parametrize("written", ["", "3", "3-3", "a-b", "0-3-5", "1e5-2", "yes=2", "=1", "a=1,A=0", "a=", "0-"])
def test_what_is_no_scale_is_said(written):
    with pytest.raises(BadInput, match="--scale"):
        read_scale(written)


def test_words_are_no_numbers():
    assert isinstance(read_scale("no=0,yes=1"), WordScale)
    with pytest.raises(BadInput, match="numbers are needed here"):
        number_scale("no=0,yes=1")
    assert [str(read_scale(written)) for written in ("0-3", "no=0,Yes=1")] == ["0-3", "no=0,Yes=1"]


@pytest.mark.parametrize(
    ("relevance", "written"), [(0.0, "0"), (1.0, "3"), (2 / 3, "2"), (0.5, "1.5"), (0.835, "2.505"), (0.1, "0.3")]
)
def test_a_grade_is_written_with_the_fewest_digits(relevance, written):
    assert read_scale("0-3").written(relevance) == written


@given(st.floats(0, 1), st.sampled_from(["0-3", "0-1", "1-5", "5-1", "-2-2", "0-100", "0.5-7.25"]))
@example(1 / 3, "0-3")
@example(5e-324, "0-3")
@example(1.0, "5-1")
def test_what_is_written_comes_back(relevance, scale):
    chosen = number_scale(scale)
    written = chosen.written(relevance)
    assert chosen.relevance(written) == relevance
    assert "e" not in written


@given(st.integers(0, 100))
def test_whole_grades_come_back(grade):
    scale = NumberScale(Fraction(0), Fraction(100))
    assert scale.whole(scale.relevance(grade)) == grade
