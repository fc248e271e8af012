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
    assert new.model_extra is not None
    choice = new.model_extra["readout_choice"]
    assert new == old.model_copy(update={"realigned": realigned, "readout_choice": choice})
    assert choice["published"] == "trained"
    assert after.calibration.temperature != 1.5
    assert after.calibration.thresholds == {"exact": 0.6}, "the copy takes its parent's place, tiers included"
    assert after.provenance.base == before.provenance.base
    assert (after.readout, after.prompt) == (before.readout, before.prompt)


def test_a_resumed_run_ends_where_an_undisturbed_one_does(
    pair: tuple[Checkpoint, Checkpoint], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, "save_strategy": "steps", "save_steps": 5}})

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


def test_a_plain_checkpoint_keeps_its_dtype_and_gets_thresholds_of_its_own(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    plain = Path(shutil.copytree(tiny_checkpoint, tmp_path / "plain"))
    calibration = Calibration(thresholds={"exact": 0.6})
    Checkpoint.open(plain).card.model_copy(update={"calibration": calibration}).save(plain)
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, "num_train_epochs": 1}})
    aligned = train_scalar(recipe, plain, tiny_data, tmp_path / "model")
    assert {tensor.dtype for tensor in load_file(aligned.folder / WEIGHTS).values()} == {torch.float32}
    assert aligned.card.provenance.quantization is None
    found = aligned.card.calibration
    assert set(found.thresholds) == {"exact", "close"}, "what it came with belongs to the scores from before"
    assert found.source is not None
    assert found.source.model == aligned.fingerprint


def test_a_trained_checkpoint_keeps_its_backbone_and_lowers_its_loss(
    phase1: Checkpoint, tiny_shop: Dataset, tmp_path: Path
) -> None:
    """On labels of another scale: on its own, phase 1 has left the readout nothing to gain."""
    strict = tuple(row.model_copy(update={"relevance": row.relevance**2, "labels": ()}) for row in tiny_shop.judgments)
    shop = Dataset(tiny_shop.products, tiny_shop.queries, strict)
    shop.save(tmp_path / "shop")
    phase2 = train_scalar(tiny.RECIPE, phase1.folder, tmp_path / "shop", tmp_path / "phase2")
    before, after = (load_file(c.folder / "model.safetensors") for c in (phase1, phase2))
    ids = list(phase1.card.readout.token_ids)
    others = [i for i in range(len(before["model.embed_tokens.weight"])) if i not in ids]
    for name in before:
        rows = others if name == "model.embed_tokens.weight" else slice(None)
        assert torch.equal(before[name][rows], after[name][rows]), name
    assert not torch.equal(before["model.embed_tokens.weight"][ids], after["model.embed_tokens.weight"][ids])
    assert phase2.card.calibration.temperature != 1.0
    assert tiny.loss(phase2, shop.of("train")) < tiny.loss(phase1, shop.of("train"))


def test_a_quantized_checkpoint_without_a_gain_stays_as_it_is(
    pair: tuple[Checkpoint, Checkpoint], tiny_data: Path, tmp_path: Path
) -> None:
    """At a learning rate of 0 the trained rows are those that came."""
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, "learning_rate": 0.0, "num_train_epochs": 1}})
    before = pair[0]
    after = train_scalar(recipe, before.folder, tiny_data, tmp_path / "model")
    for file in before.folder.iterdir():
        if file.name != CARD:
            assert (after.folder / file.name).read_bytes() == file.read_bytes(), file.name
    assert after.card.calibration == before.card.calibration
    quantization = after.card.provenance.quantization
    assert quantization is not None
    assert quantization.realigned is None
    assert quantization.model_extra is not None
    assert quantization.model_extra["readout_choice"]["published"] == "as it came"
    assert after.card.provenance.base == before.card.provenance.base


@pytest.mark.parametrize("name", ["metric_for_best_model", "load_best_model_at_end"])
def test_another_way_to_choose_a_state_is_refused(
    name: str, tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path
) -> None:
    given = {"metric_for_best_model": "eval_rps", "load_best_model_at_end": True}[name]
    recipe = RECIPE.model_copy(update={"scalar": {**RECIPE.scalar, name: given}})
    with pytest.raises(BadInput, match=f"{name} has no use in phase 2"):
        train_scalar(recipe, tiny_checkpoint, tiny_data, tmp_path / "model")


def test_one_training_query_is_enough_to_run_and_too_few_to_change_anything(
    tiny_checkpoint: Path, tiny_shop: Dataset, tmp_path: Path
) -> None:
    """Neither is validation needed: what is measured on the way are training queries."""
    query = next(key for key, query in tiny_shop.queries.items() if query.split == "train")
    rows = tuple(row for row in tiny_shop.judgments if row.query_id == query)
    Dataset(tiny_shop.products, {query: tiny_shop.queries[query]}, rows).save(tmp_path / "shop")
    made = train_scalar(RECIPE, tiny_checkpoint, tmp_path / "shop", tmp_path / "model")
    assert (made.folder / WEIGHTS).read_bytes() == (tiny_checkpoint / WEIGHTS).read_bytes()
    assert "there are 1" in (made.folder / "README.md").read_text()


def test_a_checkpoint_that_is_not_there_is_one_sentence(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        train_scalar(RECIPE, tmp_path / "nowhere", tiny_data, tmp_path / "new")


def test_unreadable_weights_are_refused(tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(BadInput, match="the weights cannot be loaded"):
        train_scalar(RECIPE, folder, tiny_data, tmp_path / "out")
