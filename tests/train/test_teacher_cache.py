"""What a teacher answered is there again, bit by bit; a file of something else is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gen_rerank import BadInput
from train.saved_states import CanGoOn
from train.teacher_cache import TeacherCache, content_key


def test_rows_come_back_in_the_order_asked_for(tmp_path: Path):
    cache = TeacherCache(tmp_path / "new" / "teacher.sqlite")
    a, b, c = (content_key("teacher", text) for text in (b"a", b"b", b"c"))
    rows = np.array([[1 / 3, 2 / 3], [0.0, 1.0]], dtype=np.float32)
    cache.add([a, b], rows)
    assert cache.missing([a, b, c, c]) == {c}
    again = TeacherCache(tmp_path / "new" / "teacher.sqlite")
    assert again.rows([b, a, b]).tolist() == [rows[1].tolist(), rows[0].tolist(), rows[1].tolist()]


def test_another_teacher_or_another_text_is_another_key():
    assert len({content_key(who, what) for who in ("x", "y") for what in (b"a", b"b")}) == 4
    assert content_key("x", b"ya") != content_key("xy", b"a")


def test_a_part_is_kept_whole_or_not_at_all(tmp_path: Path):
    cache = TeacherCache(tmp_path / "teacher.sqlite")
    a, b = content_key("t", b"a"), content_key("t", b"b")
    with pytest.raises(ValueError, match="shorter"):
        cache.add([a, b], np.zeros((1, 2), np.float32))
    assert cache.missing([a, b]) == {a, b}


def test_a_file_of_something_else_is_one_sentence(tmp_path: Path):
    (tmp_path / "teacher.sqlite").write_text("no database, but long enough to be read as one " * 40)
    with pytest.raises(BadInput, match=r"teacher\.sqlite: holds no answers of teachers .*name another --cache"):
        TeacherCache(tmp_path / "teacher.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="name another --cache"):
        TeacherCache(tmp_path / "file" / "teacher.sqlite")


def test_what_another_run_holds_for_too_long_can_go_on_later(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("train.teacher_cache._PATIENCE", 0.01)
    cache = TeacherCache(tmp_path / "teacher.sqlite")
    other = sqlite3.connect(tmp_path / "teacher.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CanGoOn, match=r"locked.*--resume"):
        cache.add([content_key("t", b"a")], np.zeros((1, 2), np.float32))
    other.close()
