"""Whatever a name or a text holds, the JSON is valid, and says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from gen_rerank.reporting.whole_json import whole_json

TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from("\\ud\ud83d\ude00\udcff"))


@given(st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS, st.lists, max_leaves=5))
def test_a_strict_reader_takes_it(value: Any) -> None:
    written = whole_json({"value": value})
    assert from_json(written) == json.loads(written)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert json.loads(written) == {"value": value}


def test_half_characters_are_question_marks_and_whole_ones_stay() -> None:
    value = {"a\udcff": ["\ud83d\ude00", "\U0001f600", "\ude00\ud83d", "\\udcff"]}
    assert json.loads(whole_json(value)) == {"a?": ["\U0001f600", "\U0001f600", "??", "\\udcff"]}


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        whole_json([float("nan")])
