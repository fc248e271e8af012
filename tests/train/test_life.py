"""The end of a run: a result that cannot be written is one sentence, and nothing half-written is left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError
from torch import nn

from gen_rerank import BadInput
from gen_rerank.checkpoints.card import Card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from train.distributional import Distributional, train_distributional
from train.life import Lesson, result_appearing
from train.scalar import Scalar, train_scalar

from .tiny import RECIPE


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("disk is full")])
def test_what_could_not_be_written_can_go_on(tmp_path: Path, error: Exception) -> None:
    out = tmp_path / "model"

    def write() -> None:
        with result_appearing(out) as folder:
            (folder / "config.json").write_text("{}")
            raise error

    with pytest.raises(BadInput, match=r"the result could not be written .*; make room and run .* with --resume"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_result_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with result_appearing(out) as folder:
        (folder / "config.json").write_text("{}")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [out]


# What ends a run, and what only stops it


def prepared_and_refused(*_: object) -> None:
    raise BadInput("no such base")


def test_a_run_that_is_refused_leaves_nothing(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distributional, "prepare", prepared_and_refused)
    with pytest.raises(BadInput, match="no such base"):
        train_distributional(RECIPE, tiny_data, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_that_is_refused_keeps_its_states(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(Distributional, "measure", killed)
    short = RECIPE.model_copy(update={"distributional": {**RECIPE.distributional, "max_steps": 2, "save_steps": 1}})
    with pytest.raises(InterruptedError):
        train_distributional(short, tiny_data, tmp_path / "model")
    monkeypatch.undo()
    monkeypatch.setattr(Distributional, "prepare", prepared_and_refused)
    with pytest.raises(BadInput, match="no such base"):
        train_distributional(short, tiny_data, tmp_path / "model", resume=True)
    monkeypatch.undo()
    assert train_distributional(short, tiny_data, tmp_path / "model", resume=True).folder == tmp_path / "model"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_result_that_does_not_open_is_never_named(
    phase1: Checkpoint, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Scalar.save

    def damaged(training: Scalar, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        save(training, lesson, model, card, folder)
        (folder / "gen_rerank.json").write_text("{")

    monkeypatch.setattr(Scalar, "save", damaged)
    with pytest.raises(BadInput, match=r"model: nothing was written, because the result does not open: .*/model/gen_"):
        train_scalar(RECIPE, phase1.folder, tiny_data, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_diverges_is_one_sentence(tiny_data: Path, tmp_path: Path) -> None:
    section = {**RECIPE.distributional, "muon_learning_rate": None, "learning_rate": 1e9, "eval_strategy": "no"}
    wild = RECIPE.model_copy(update={"distributional": {**section, "max_steps": 4, "save_steps": 2}})
    with pytest.raises(BadInput, match=r"training has diverged: .* lower the recipe's learning rate"):
        train_distributional(wild, tiny_data, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
