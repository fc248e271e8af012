"""JSON: lines, and arrays that are read entry by entry."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank.data.feeds.json_rows import json_rows
from gen_rerank.data.feeds.rows import FeedRow, UnreadRow
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.errors import BadInput


def rows_of(folder: Path, text: str) -> list[FeedRow | UnreadRow]:
    path = folder / "feed.json"
    path.write_text(text, encoding="utf-8")
    return list(json_rows(FeedSource.recognise(path)))


def test_a_bad_line_is_refused_and_the_next_one_read(tmp_path: Path) -> None:
    good, bad, other, last = rows_of(tmp_path, '{"id": 1}\n{"id": \n\n[1]\n\ufeff{"id": 2}\n')
    assert good == FeedRow(1, {"id": 1})
    assert isinstance(bad, UnreadRow)
    assert (bad.line, bad.kind) == (2, "not valid JSON")
    assert other == UnreadRow(4, "not a JSON object", "not a JSON object")
    assert last == FeedRow(5, {"id": 2})


def test_what_python_writes_and_json_does_not_know_is_read(tmp_path: Path) -> None:
    for text in ('{"a": NaN, "b": "\\ud83d"}\n', '[{"a": NaN, "b": "\\ud83d"}]'):
        (row,) = rows_of(tmp_path, text)
        assert isinstance(row, FeedRow)
        assert math.isnan(row.cells["a"])
        assert row.cells["b"] == "\ud83d"


def test_entries_of_an_array_have_their_lines(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, '\ufeff\n[\n{"id": 1},\n {"id":\n 2}\n,5, null ]\n \n')
    assert rows == [
        FeedRow(3, {"id": 1}),
        FeedRow(4, {"id": 2}),
        UnreadRow(6, "not a JSON object", "not a JSON object"),
        UnreadRow(6, "not a JSON object", "not a JSON object"),
    ]


def test_entries_of_an_array_in_one_line_are_counted(tmp_path: Path) -> None:
    assert rows_of(tmp_path, '[{"id": 1}, 5, {"id": 2}]\n') == [
        FeedRow(1, {"id": 1}),
        UnreadRow(2, "not a JSON object", "not a JSON object"),
        FeedRow(3, {"id": 2}),
    ]
    with pytest.raises(BadInput, match=r"feed\.json item:2: the array is not valid JSON"):
        rows_of(tmp_path, '[{"id": 1}, {"id": ')


def test_an_entry_may_be_larger_than_the_window(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = [{"id": i, "text": "ä" * size} for i, size in enumerate((5, 200_000, 70_000, 65_536))]
    assert [row.cells for row in rows_of(tmp_path, json.dumps(made)) if isinstance(row, FeedRow)] == made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"id": 1}', "the array has no end"),
        ('[{"id": 1},', "the array has no end"),
        ('[{"id": 1},\n{"id": ', r"feed\.json:2: the array is not valid JSON"),
        ('[{"id": 1} {"id": 2}]', "a comma is missing"),
        ('[{"id": 1}] []', "something follows the array's end"),
        ('{\n "id": 1\n}\n', "objects of several lines"),
    ],
)
def test_what_is_not_json_to_its_end_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        rows_of(tmp_path, text)


def test_what_is_nested_without_end_is_a_bad_row(tmp_path: Path) -> None:
    _, bad = rows_of(tmp_path, '{"id": 1}\n{"a":' + "[" * 100_000 + "\n")
    assert isinstance(bad, UnreadRow)
    assert bad.kind == "not valid JSON"


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=6), st.sampled_from([None, 1]))
def test_any_array_is_read_as_json_reads_it(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]], indent: int | None
) -> None:
    rows = rows_of(tmp_path_factory.mktemp("json"), json.dumps(made, indent=indent))
    assert [row.cells for row in rows if isinstance(row, FeedRow)] == made
