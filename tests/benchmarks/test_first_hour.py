"""A shop's first hour: the whole walk at small size, and that it would see a wrong count or a file that changed."""

from __future__ import annotations

import gzip
import json
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from first_hour import main
from first_hour_parts.books import counted, must_count, write_book
from first_hour_parts.transcript import LINE, WIDTH, Said, Transcript, typed_lines
from first_hour_parts.walk import trec_grades
from gen_rerank import BadInput
from gen_rerank.data.imports import ImportOptions, import_source
from harness.this_run import ThisRun


@pytest.fixture
def transcript() -> Transcript:
    return Transcript(Console(quiet=True))


@pytest.mark.slow  # a dozen processes, six of which open torch
def test_the_whole_walk_at_small_size(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/first_hour.py"])
    document = tmp_path / "first-hour.md"
    main(None, tmp_path / "made", rows=2000, steps=2, document=document)
    text = document.read_text(encoding="utf-8")
    assert "NOT SO" not in text
    assert text.count("\nChecked: ") == 9
    assert {line for line in text.splitlines() if line.startswith("## ")} == {
        "## A feed", "## A book of judgments", "## A small model", "## Two models side by side, a gate, one query",
        "## Out to other tools and in again", "## The feed, a week later", "## In mteb",
    }  # fmt: skip
    assert "the vote of" not in text
    assert " × " not in text
    assert {"│ changed", "│ added", "│ gone"} <= {line.strip()[:9].strip() for line in text.splitlines()}
    assert all(len(line) <= WIDTH + 4 for line in text.splitlines() if line.startswith("    "))
    with pytest.raises(BadInput, match="something lies there"):
        main(None, tmp_path / "made", rows=2000, steps=2, document=None)


@pytest.mark.parametrize("name", ["book.json", "book.json.gz"])
def test_the_import_of_a_made_up_book_counts_what_is_in_it(tmp_path: Path, name: str) -> None:
    book = write_book(tmp_path / "book.json", seed=1)
    if name.endswith(".gz"):
        book = tmp_path / name
        book.write_bytes(gzip.compress((tmp_path / "book.json").read_bytes()))
    wanted = must_count(book)
    report = import_source(book, tmp_path / "shop", "quepid", ImportOptions(scale="0-3"), None).to_json()
    assert counted(report) == wanted
    assert wanted["pairs read"] == 300
    assert 0 < wanted["votes refused"] < 50
    assert wanted["judgments written"] < wanted["pairs read"]  # some were not judged


def test_a_file_that_is_no_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.json").write_text(json.dumps({"query_doc_pairs": [{"query_text": "desk"}]}), encoding="utf-8")
    with pytest.raises(BadInput, match="no book of Quepid's"):
        must_count(tmp_path / "book.json")


def test_a_count_that_differs_is_kept_and_told(transcript: Transcript) -> None:
    transcript.check("one is one", holds=True)
    transcript.check("one is two", holds=False)
    assert transcript.broken == ["one is two"]
    assert transcript.parts == ["Checked: one is one.", "NOT SO: one is two."]


def test_a_command_that_stops_ends_the_walk(transcript: Transcript, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="stopped with exit code 2: "):
        transcript.run("messy_feed.py", "write", tmp_path / "feed.csv", "--rows", "10")
    said = transcript.run("messy_feed.py", "write", tmp_path / "feed.csv", "--rows", "10", may_end=(0, 2))
    assert said.code == 2
    assert said.lines[-1].startswith("error: --rows 10: at least 2000 are needed")
    assert transcript.parts[-1].endswith("\n    exit code 2")


def test_a_document_shows_the_first_lines_and_says_what_it_left_out() -> None:
    said = Said("gen-rerank rank", ("a", "b" * 200, "c"), 0)
    assert said.shown(None) == ["$ gen-rerank rank", "a", "b" * (WIDTH - 1) + "…", "c"]
    assert said.shown(2)[1:] == ["a", "b" * (WIDTH - 1) + "…", "… and 1 more line"]
    assert said.shown(0) == ["$ gen-rerank rank", "… and 3 more lines"]
    assert said.shown(1, "b") == ["$ gen-rerank rank", "… 1 line", "b" * (WIDTH - 1) + "…", "… and 1 more line"]
    assert said.shown(until="c")[-2:] == ["b" * (WIDTH - 1) + "…", "… and 1 more line"]
    assert said.shown(until="d") == said.shown()
    assert said.shown(begin="c") == ["$ gen-rerank rank", "… 2 lines", "c"]
    with pytest.raises(BadInput, match="printed no line with 'd'"):
        said.shown(begin="d")


def test_a_long_command_is_on_several_lines_that_a_shell_takes_for_one() -> None:
    command = " ".join(["gen-rerank evaluate", *(f"runs/model-{number}" for number in range(12)), "'a gate >= 0'"])
    lines = typed_lines(command)
    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == ["$", *shlex.split(command)]


def test_paragraphs_of_a_document_are_short_lines_and_code_stays(transcript: Transcript) -> None:
    transcript.chapter("A chapter", "word " * 60)
    transcript.parts.append(f"    {'x' * LINE}")
    text = transcript.document("A title", ThisRun.now(()), "an introduction " * 20)
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= LINE
    assert f"\n\n    {'x' * LINE}\n" in text


def test_grades_of_qrels(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text("q1 0 p1 3\nq1 0 p2 0\nq2 0 p1 1\n", encoding="utf-8")
    assert trec_grades(tmp_path / "qrels.txt") == {"q1": {"p1": 3, "p2": 0}, "q2": {"p1": 1}}
