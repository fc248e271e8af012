"""What the measurements share: exit codes, processes that end, steps that are kept, tables in two forms."""

from __future__ import annotations

import signal
import time

import pytest
from rich.console import Console

from gen_rerank import BadInput
from harness.command import run
from harness.own_process import NoResultError, in_own_process
from harness.recipes import write_recipe
from harness.steps import CommandSteps
from harness.tables import FigureTable
from harness.this_run import ThisRun
from train.recipe import Recipe


def test_bad_input_is_one_sentence_and_exit_code_2(monkeypatch, capsys):
    def main() -> None:
        raise BadInput("no such shop")

    monkeypatch.setattr("sys.argv", ["x.py"])
    with pytest.raises(SystemExit, match="2"):
        run(main)
    assert capsys.readouterr().err.strip() == "error: no such shop"


def test_a_process_of_its_own_gives_what_the_function_gives():
    assert in_own_process(sorted, [2, 1]) == [1, 2]


def test_a_process_without_a_result_says_why(tmp_path):
    log = tmp_path / "x.log"
    with pytest.raises(NoResultError, match=r"invalid literal.*; its output is in .*x\.log"):
        in_own_process(int, "x", log=log)
    assert "Traceback" in log.read_text()
    with pytest.raises(NoResultError, match="took more than 0 seconds"):
        in_own_process(time.sleep, 60, limit=0.1)
    with pytest.raises(NoResultError, match="most likely for memory"):
        in_own_process(signal.raise_signal, signal.SIGKILL)


def test_a_command_runs_once_and_its_refusal_can_be_a_result(tmp_path):
    steps = CommandSteps(tmp_path, Console(quiet=True))
    data, small = tmp_path / "data", ("gen-rerank", "sample", "--products", "300", "--queries", "40")
    steps.run("data", data, *small)
    made = (data / "products.jsonl").stat().st_mtime_ns
    steps.run("data", data, *small)
    assert (data / "products.jsonl").stat().st_mtime_ns == made
    with pytest.raises(BadInput, match="other settings"):
        steps.run("data", data, *small, "--seed", "1")
    scoring = ("gen-rerank", "score", str(tmp_path / "nowhere"), str(data))
    with pytest.raises(BadInput, match=r"the step score stopped with exit code 2: .*nowhere"):
        steps.run("score", tmp_path / "scores.jsonl", *scoring)
    steps.run("score", tmp_path / "scores.jsonl", *scoring, may_stop=lambda code, sentence: "nowhere" in sentence)
    assert "nowhere" in steps.steps.finished()["score"]["refused"]
    steps.run("score", tmp_path / "scores.jsonl", *scoring)  # it is kept


def test_what_a_command_says_in_json_is_kept(tmp_path):
    steps = CommandSteps(tmp_path, Console(quiet=True))
    (tmp_path / "feed.csv").write_text("id,title\n1,Desk\n2,Lamp\n", encoding="utf-8")
    (tmp_path / "votes.csv").write_text("query,product,grade\ndesk,1,1\nlamp,2,0\n", encoding="utf-8")
    data = tmp_path / "data"
    steps.add("feed", data, "gen-rerank", "import", tmp_path / "feed.csv", data, "--format", "feed")
    votes = ("gen-rerank", "import", tmp_path / "votes.csv", data, "--format", "judgments", "--scale", "0-1")
    steps.add("votes", data, *votes)  # what the step before made is there
    mixing = ("gen-rerank", "mix", data, "--only", "train")
    said = steps.read("mix", tmp_path / "mix", *mixing)
    assert said["folders"][0]["splits"]["train"]["pairs"] == 1
    assert steps.read("mix", tmp_path / "mix", *mixing) == said
    assert [*steps.steps.finished()] == ["feed", "votes", "mix"]


def test_a_recipe_is_written_once(tmp_path):
    changes = {"distributional": {**Recipe.load("nano").distributional, "seed": 7}}
    file = write_recipe(tmp_path / "recipes" / "a.yaml", "nano", changes)
    assert Recipe.load(str(file)).distributional["seed"] == 7
    assert write_recipe(file, "nano", {}) == file
    assert Recipe.load(str(file)).distributional["seed"] == 7


def test_a_table_in_two_forms(capsys):
    table = FigureTable("Speed", ("Way", "pairs/s"), [("ours", "12")], "Cold.")
    assert table.document() == "| Way | pairs/s |\n| --- | ---: |\n| ours | 12 |\n\nCold."
    table.show(Console(width=80))
    FigureTable("Nothing", ("Way",), []).show(Console(width=80))
    shown = capsys.readouterr().out
    assert "ours" in shown
    assert "Nothing" not in shown


def test_a_document_begins_with_its_run(monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks/serving.py", "--shape", "0.6b"])
    about = ThisRun.now(("numpy",))
    assert about.heading().endswith("Command:\n\n    python benchmarks/serving.py --shape 0.6b")
    assert about.line() == f"`{about.command}`, {about.date}, {about.machine}"
    assert "numpy" in about.versions
