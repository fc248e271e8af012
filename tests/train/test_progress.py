"""A training says how far it is where there is no terminal, and shows a bar where there is one."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from gen_rerank.reporting import progress
from train.progress import TrainingBar


class Shown:
    """The standard error as a test sees it, and a clock that a test moves."""

    def __init__(self, *, terminal: bool) -> None:
        self.now = 0.0
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=200, force_terminal=terminal, get_time=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return [line for line in self.file.getvalue().splitlines() if line.strip()]


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> Shown:
    seen = Shown(terminal=terminal)
    monkeypatch.setattr(progress, "Console", lambda **_: seen.console)
    return seen


class Run:
    """A training of 100 steps as its callbacks see it."""

    def __init__(self, arguments: TrainingArguments, *, begins: int = 0, first: bool = True) -> None:
        self.bar = TrainingBar()
        self.state = TrainerState(global_step=begins, max_steps=100, is_world_process_zero=first)
        self.given = (arguments, self.state, TrainerControl())
        self.bar.on_train_begin(*self.given)

    def steps(self, count: int, **logs: float) -> None:
        self.state.global_step += count
        self.bar.on_step_end(*self.given)
        self.bar.on_log(*self.given, logs=logs)


@pytest.fixture
def arguments(tmp_path: Any) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True)


def test_without_a_terminal_a_line_has_step_figures_and_time_left(monkeypatch, arguments):
    seen = shown(monkeypatch, terminal=False)
    run = Run(arguments)
    run.steps(20, loss=0.75, **{"eval_ndcg@5": 0.8125, "eval_rps": 0.0625, "learning_rate": 1.0})
    assert seen.lines == []
    seen.now += progress.SECONDS_BETWEEN_LINES
    run.steps(5, loss=0.5)
    run.steps(5, loss=0.25)
    run.bar.on_train_end(*run.given)
    figures = "loss 0.7500  validation nDCG@5 0.8125  RPS 0.0625"
    assert seen.lines == [f"training: 25 of 100 (25%), 0:00:30 gone, about 0:01:30 left; {figures}"]


def test_a_resumed_run_says_how_long_the_rest_takes(monkeypatch, arguments):
    seen = shown(monkeypatch, terminal=False)
    run = Run(arguments, begins=80)
    seen.now += progress.SECONDS_BETWEEN_LINES
    run.state.global_step += 10
    run.bar.on_step_end(*run.given)
    assert seen.lines == ["training: 90 of 100 (90%), 0:00:30 gone, about 0:00:30 left"]


def test_on_a_terminal_there_is_a_bar(monkeypatch, arguments):
    seen = shown(monkeypatch, terminal=True)
    run = Run(arguments)
    run.steps(25, loss=0.5)
    run.bar.on_train_end(*run.given)
    assert "25/100" in seen.file.getvalue()
    assert "loss 0.5000" in seen.file.getvalue()
    assert "gone" not in seen.file.getvalue()


def test_other_processes_say_nothing(monkeypatch, arguments):
    seen = shown(monkeypatch, terminal=False)
    run = Run(arguments, first=False)
    seen.now += progress.SECONDS_BETWEEN_LINES
    run.steps(25, loss=0.5)
    run.bar.on_train_end(*run.given)
    assert seen.lines == []


@pytest.mark.parametrize("quiet", [True, False])
def test_a_recipe_can_turn_progress_off(tmp_path, quiet):
    config = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, disable_tqdm=quiet)
    assert progress.progress_console(quiet=config.disable_tqdm).quiet is quiet


_LIBRARIES_AT_WORK = """
import logging, sys
from train.progress import quiet_libraries
quiet_libraries()
assert not logging.getLogger("bitsandbytes.backends.cpu.ops").isEnabledFor(logging.WARNING)
from datasets import Dataset
from gen_rerank.bm25 import BM25
BM25(["oak desk", "steel lamp"])
Dataset.from_dict({"a": [1, 2]}).save_to_disk(sys.argv[1])
"""


def test_libraries_say_nothing_of_what_they_do_for_a_training(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", _LIBRARIES_AT_WORK, str(tmp_path / "kept")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("", "")
