"""Phase 2, on quantized checkpoints too: only the readout moves, and what was measured is what the folder scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.checkpoints.card import CARD, Calibration, Realignment
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant.quantize import quantize
from train import life
from train.pair_trainer import validation_metrics
from train.recipe import Recipe
from train.scalar import train_scalar

from . import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe.model_validate(
    {"scalar": {"learning_rate": 1e-2, "per_device_train_batch_size": 64, "num_train_epochs": 10, "disable_tqdm": True}}
)
WEIGHTS = "model.safetensors"
DOCUMENTS = {"README.md", "training.html", "training.json"}


@pytest.fixture(scope="module")
def untied(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with an output matrix of its own."""
    folder = tmp_path_factory.mktemp("untied") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["mxfp4", "int8", "untied mxfp4"])
def pair(
    request: pytest.FixtureRequest,
    tiny_checkpoint: Path,
    untied: Path,
    tiny_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Checkpoint, Checkpoint]:
    """A quantized checkpoint, which has thresholds, and the same after phase 2."""
    folder = tmp_path_factory.mktemp("runs")
    *kind, scheme = request.param.split()
    quantized = quantize(untied if kind else tiny_checkpoint, scheme, folder / "quantized")
    calibration = Calibration(temperature=1.5, thresholds={"exact": 0.6})
    quantized.card.model_copy(update={"calibration": calibration}).save(quantized.folder)
    realigned = train_scalar(RECIPE, quantized.folder, tiny_data, folder / "realigned")
    return Checkpoint.open(quantized.folder), realigned


def scores(checkpoint: Checkpoint, part: Dataset) -> Distribution:
    return TransformersScorer(checkpoint).score([part.pair(row) for row in part.judgments])


def test_only_the_eleven_rows_and_the_card_change(pair: tuple[Checkpoint, Checkpoint]) -> None:
    before, after = pair
    old, new = {p.name for p in before.folder.iterdir()}, {p.name for p in after.folder.iterdir()}
    assert new == old | DOCUMENTS
    for name in old - {WEIGHTS, CARD}:
        assert (after.folder / name).read_bytes() == (before.folder / name).read_bytes(), name
    first, second = load_file(before.folder / WEIGHTS), load_file(after.folder / WEIGHTS)
    assert list(first) == list(second)
    matrix = "model.embed_tokens.weight" if before.config["tie_word_embeddings"] else "lm_head.weight"
    ids = list(before.card.readout.token_ids)
    others = [i for i in range(len(first[matrix])) if i not in ids]
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        kept = others if name == matrix else slice(None)
        assert torch.equal(tensor[kept].view(torch.uint8), second[name][kept].view(torch.uint8)), name
    assert (first[matrix][ids] != second[matrix][ids]).any(dim=1).all()
    assert first[matrix].dtype is torch.bfloat16


def test_the_written_folder_scores_what_training_measured(
    pair: tuple[Checkpoint, Checkpoint], tiny_shop: Dataset
) -> None:
    validation = tiny_shop.of("validation")
    measured = pair[1].card.provenance.metrics or {}
    for name, value in validation_metrics(validation, scores(pair[1], validation)).items():
        assert measured[f"validation_{name}"] == pytest.approx(value, abs=1e-4)
    report = json.loads((pair[1].folder / "training.json").read_text())
    assert report["before"]["name"] == "quantized"
    before = float(np.mean(report["before"]["per_query"]["nDCG@5"]))
    assert before == pytest.approx(validation_metrics(validation, scores(pair[0], validation))["ndcg@5"], abs=1e-4)


def test_the_loss_falls(pair: tuple[Checkpoint, Checkpoint], tiny_shop: Dataset) -> None:
    train = tiny_shop.of("train")
    gold = [row.relevance for row in train.judgments]
    before, after = (float(np.mean((scores(one, train).mean - gold) ** 2)) for one in pair)
    assert after < before


def test_the_card_keeps_how_it_was_quantized_and_says_that_it_was_realigned(
    pair: tuple[Checkpoint, Checkpoint], tiny_data: Path
) -> None:
    before, after = (one.card for one in pair)
    old, new = (card.provenance.quantization for card in (before, after))
    assert old is not None
    assert new is not None
    recipe = RECIPE.model_dump(mode="json", exclude_none=True)
    realigned = Realignment(data=Dataset.load(tiny_data).fingerprint, recipe=recipe)
    assert new == old.model_copy(update={"realigned": realigned})
    assert after.calibration.temperature != 1.5
    assert after.calibration.thresholds == {"exact": 0.6}, "the copy takes its parent's place, tiers included"
    assert after.provenance.base == before.provenance.base
    assert (after.readout, after.prompt) == (before.readout, before.prompt)


def test_a_resumed_run_ends_where_an_undisturbed_one_does(
    pair: tuple[Checkpoint, Checkpoint], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, "save_strategy": "steps", "save_steps": 11}})

    def stop(*_: object, **__: object) -> None:
        raise InterruptedError

    # Stopped after training, as a killed process would be.
    monkeypatch.setattr(life, "training_run", stop)
    with pytest.raises(InterruptedError):
        train_scalar(recipe, pair[0].folder, tiny_data, tmp_path / "model")
    monkeypatch.undo()
    states = sorted((tmp_path / "model.training").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert len(states) > 1
    for later in states[1:]:
        shutil.rmtree(later)
    resumed = train_scalar(recipe, pair[0].folder, tiny_data, tmp_path / "model", resume=True)
    assert (resumed.folder / WEIGHTS).read_bytes() == (pair[1].folder / WEIGHTS).read_bytes()
    assert resumed.card.calibration == pair[1].card.calibration


def test_a_plain_checkpoint_keeps_its_dtype_and_loses_its_thresholds(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    plain = Path(shutil.copytree(tiny_checkpoint, tmp_path / "plain"))
    calibration = Calibration(thresholds={"exact": 0.6})
    Checkpoint.open(plain).card.model_copy(update={"calibration": calibration}).save(plain)
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, "num_train_epochs": 1}})
    aligned = train_scalar(recipe, plain, tiny_data, tmp_path / "model")
    assert {tensor.dtype for tensor in load_file(aligned.folder / WEIGHTS).values()} == {torch.float32}
    assert aligned.card.provenance.quantization is None
    assert aligned.card.calibration.thresholds == {}, "they belong to the scores from before"


def test_a_trained_checkpoint_keeps_its_backbone_and_lowers_its_loss(
    phase1: Checkpoint, tiny_data: Path, tiny_shop: Dataset, tmp_path: Path
) -> None:
    phase2 = train_scalar(tiny.RECIPE, phase1.folder, tiny_data, tmp_path / "phase2")
    before, after = (load_file(c.folder / "model.safetensors") for c in (phase1, phase2))
    ids = list(phase1.card.readout.token_ids)
    others = [i for i in range(len(before["model.embed_tokens.weight"])) if i not in ids]
    for name in before:
        rows = others if name == "model.embed_tokens.weight" else slice(None)
        assert torch.equal(before[name][rows], after[name][rows]), name
    assert not torch.equal(before["model.embed_tokens.weight"][ids], after["model.embed_tokens.weight"][ids])
    assert phase2.card.calibration.temperature != 1.0
    assert tiny.loss(phase2, tiny_shop.of("train")) < tiny.loss(phase1, tiny_shop.of("train"))


def test_a_checkpoint_that_is_not_there_is_one_sentence(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        train_scalar(RECIPE, tmp_path / "nowhere", tiny_data, tmp_path / "new")


def test_unreadable_weights_are_refused(tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(BadInput, match="the weights cannot be loaded"):
        train_scalar(RECIPE, folder, tiny_data, tmp_path / "out")
