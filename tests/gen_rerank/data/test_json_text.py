from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.json_text import NotJson, read_json


def test_what_python_writes_is_read() -> None:
    assert math.isnan(read_json(b'{"a": NaN}')["a"])
    assert read_json(b"[Infinity, -Infinity]") == [math.inf, -math.inf]
    assert read_json(b"\xef\xbb\xbf3") == 3


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"Lamp \ud83d"', "Lamp ?"),
        (rb'"\ude00 lamp"', "? lamp"),
        (rb'"\ud83d\ude00 \ud83d"', "\U0001f600 ?"),
        (rb'"\\ud83d \ud83d"', r"\ud83d ?"),
        (rb'"\\\ud83d\n"', "\\?\n"),
    ],
)
def test_half_a_character_is_mended_and_nothing_else(raw: bytes, value: str) -> None:
    assert read_json(raw) == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not valid JSON"),
        (b'"\xff"', "not UTF-8; write it as UTF-8"),
        (rb'"\ud83d', "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b"[" * 1000 + b"]" * 1000, "not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16; write it as UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16"),
    ],
)
def test_what_is_no_json_is_said(raw: bytes, words: str) -> None:
    with pytest.raises(NotJson, match=words):
        read_json(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_it_reads_what_the_standard_library_reads(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value
