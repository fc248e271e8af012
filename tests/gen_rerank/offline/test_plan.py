"""What cannot be scored is said before anything is read."""

from __future__ import annotations

import pytest

from tests.conftest import complaint


def test_options_that_do_not_go_together(run, tmp_path) -> None:
    out = ("--out", tmp_path / "out")
    words = {
        (): "nothing to score; give PAIRS, or --queries and --index",
        ("pairs.jsonl", "--index", "i"): "give one of the two",
        ("--queries", "q.jsonl"): "--queries and --index go together",
        ("--queries", "q.jsonl", "--index", "i", "--data", "shop"): "--data joins pairs of ids",
        ("pairs.jsonl", "--engine", "spark"): "there is no engine 'spark'; choose local or ray",
        ("pairs.jsonl", "--workers", "2"): "go with --engine ray",
    }
    for given, sentence in words.items():
        assert sentence in complaint(run("score", tmp_path / "model", *given, *out))
    assert not (tmp_path / "out").exists()


def test_places_that_are_taken_or_read(run, tiny_checkpoint, tiny_data, tmp_path) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    places = {
        "scores.jsonl": "scores of pairs are many files; name a folder",
        "full": "already exists; choose another place",
        "pairs": "is read, or lies in it",
        "pairs/scores": "is read, or lies in it",
        ".": "which is read; choose another place",
    }
    for place, sentence in places.items():
        assert sentence in complaint(run("score", tiny_checkpoint, pairs, "--out", tmp_path / place))
    said = complaint(run("score", tiny_checkpoint, tiny_data, "--out", tmp_path / "s.jsonl", "--reuse", pairs))
    assert "is a data folder, of which judged pairs are scored" in said
    assert not list(pairs.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none", "no such file or folder"),
        ("empty.jsonl", "no rows"),
        ("table.csv", "rows are read from .jsonl, .jsonl.gz, .parquet"),
        ("mixed", "table.csv: rows are read from"),
        ("nothing", "holds no files of rows"),
        ("array.jsonl", "it is one JSON array"),
        ("broken.parquet", "not a readable Parquet file"),
    ],
)
def test_what_holds_no_pairs(name: str, sentence: str, run, tiny_checkpoint, tmp_path) -> None:
    for folder in ("mixed", "nothing"):
        (tmp_path / folder).mkdir()
    for file, content in {
        "empty.jsonl": "\n\n", "table.csv": "a,b", "mixed/table.csv": "a,b", "nothing/.hidden": "", "array.jsonl": "[",
        "broken.parquet": "PAR1",
    }.items():  # fmt: skip
        (tmp_path / file).write_text(content)
    assert sentence in complaint(run("score", tiny_checkpoint, tmp_path / name, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
