"""Values that only Python has, and bounds; what every door has is in tests/test_value_doors.py."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from gen_rerank.data import values
from gen_rerank.data.values import BadValue, NoValue, shown


class Colour(str, Enum):  # noqa: UP042 - the older way, of which there are many
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [pd.NA, pd.NaT, np.nan, np.float32("nan"), np.float64("inf"), np.datetime64("NaT"), Decimal("NaN"), Decimal("sNaN"),
     Decimal("-Infinity"), np.str_(" "), b" ", "\x85\u2028"],
)  # fmt: skip
def test_what_libraries_write_for_a_missing_value_is_absent(value: Any) -> None:
    assert values.text(value) is None
    assert values.joined_text([value]) is None
    with pytest.raises(NoValue, match=r"^has no text$"):
        values.identifier(value)
    if not isinstance(value, bytes):
        assert values.number(value) is None
        assert values.boolean(value) is None
        assert values.attributes(value) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(5), "5"),
        (np.float32(2.0), "2"),
        (np.float32(19.99), "19.99"),
        (np.float16(1.1), "1.1"),
        (np.array(5), "5"),
        (np.datetime64("2026-11-30T09:05", "ns"), "2026-11-30T09:05:00"),
        (np.bool_(False), "false"),
        (np.str_("oak"), "oak"),
        (np.datetime64("2026-11-30"), "2026-11-30"),
        (pd.Timestamp("2026-11-30 09:05"), "2026-11-30T09:05:00"),
        (date(2026, 11, 30), "2026-11-30"),
        (time(9, 5), "09:05:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (bytearray(b"\xef\xbb\xbfoak"), "oak"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (2**70, "1180591620717411303424"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.100"), "0.1"),
    ],
)
def test_what_is_text_in_python_is_text(value: Any, text: str) -> None:
    assert values.text(value) == text


@pytest.mark.parametrize(
    "value",
    [timedelta(1), {1, 2}, object(), 1j, 10**4000, Decimal("1E+999999"), b"\xff", ["a"], {"a": 1}, np.array(["a"])],
)
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(BadValue) as refused:
        values.text(value)
    assert len(str(refused.value)) < 150


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: Any = "x"
    for _ in range(8):
        deep = [deep]
    assert values.joined_text(deep) == "x"
    with pytest.raises(BadValue, match="nested more than 8 deep"):
        values.joined_text([deep])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BadValue, match="nested"):
        values.attributes({"a": endless})


@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        ([("colour", "red"), ("size", None)], {"colour": "red"}),
        ([{"key": "colour", "value": "red"}, {"name": "colour", "value": "blue"}], {"colour": "red, blue"}),
        ({"co\u200blour": "red", "colour": "blue"}, {"colour": "red, blue"}),
        ({1: 2.0, "set": {"w": 1, "h": [2, 3]}}, {"1": "2", "set": "w: 1, h: 2, 3"}),
        ('[{"key": "colour", "value": "red"}]', {"colour": "red"}),
        (b'{"colour": "red"}', {"colour": "red"}),
        ("{}", {}),
        (np.array([["colour", "red"]]), {"colour": "red"}),
        (np.array({"colour": "red"}, dtype=object), {"colour": "red"}),
        ({"prices": np.array([19.99], dtype=np.float32)}, {"prices": "19.99"}),
        ({"days": np.array(["2026-11-30T09:05"], dtype="datetime64[ns]")}, {"days": "2026-11-30T09:05:00"}),
        ([{"key": "w", "value": 1, "unit": None}], {"w": "1"}),
    ],
)
def test_the_forms_of_attributes(value: Any, attributes: dict[str, str]) -> None:
    assert values.attributes(value) == attributes


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["XL", "EU"], "'XL' has no name"),
        (["red", "large"], "'red' has no name"),
        (5, "not a value of the type int"),
        ("red", "not 'red'"),
        ("{", "the text is not valid JSON"),
        ([{"key": "w", "value": 1, "unit": "cm"}], "has no name"),
        ([["a", "b", "c"]], "has no name"),
        ({"": "red"}, "the value 'red' has no name"),
        ({"size": timedelta(1)}, "'size': one text is needed"),
        ([["a", "x"]] * 1001, "more than 1,000 entries"),
    ],
)
def test_what_is_no_attributes_is_refused(value: Any, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        values.attributes(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("19.99 USD", r"words or a currency"),
        ("$9", "words or a currency"),
        ("1,299.00", "a comma or a space"),
        ("12,50", "a comma or a space"),
        ("1 299", "a comma or a space"),
        ("free", r"not 'free'$"),
        ("10-20", r"not '10-20'$"),
        (np.timedelta64(5, "ns"), "not"),
        ("nan", r"not 'nan'$"),
        (True, "not True"),
        ("1e999", "too large"),
        ("\u0665", "not"),
        ([1], "not"),
    ],
)
def test_what_is_no_number_is_refused_by_its_form(value: Any, words: str) -> None:
    with pytest.raises(BadValue, match=words):
        values.number(value)


def test_numbers_are_those_that_print() -> None:
    assert values.number(np.float32(19.99)) == 19.99
    assert str(values.number(-0.0)) == "0.0"


def test_a_list_costs_no_more_than_the_text_that_is_read() -> None:
    assert len(values.joined_text(["wood"] * 10**7) or "") == 2**20


def test_grades_may_be_yes_or_no() -> None:
    assert values.grade(True) == 1.0
    assert values.grades([True, None, "0.5", np.float32("nan")]) == (1.0, 0.5)
    with pytest.raises(NoValue, match=r"^has no value$"):
        values.grade(float("nan"))


@pytest.mark.parametrize("value", ["a" * 1000, "\n" * 1000, ["a"] * 1000, {"a": ["b" * 99] * 99}, 10**4000, "\u2028"])
def test_what_is_shown_is_short_and_on_one_line(value: object) -> None:
    text = shown(value)
    assert len(text) <= 40
    assert len(text.splitlines()) == 1
