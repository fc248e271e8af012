"""Phase 1 for real, on the tiny shop: it learns, resumes, and leaves checkpoints that every backend opens."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gen_rerank import BadInput, Dataset, Distribution, Reranker
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.scorers.vllm import VllmScorer
from train import distributional, life
from train.bases import open_base
from train.distributional import Distributional, plain_model, train_distributional
from train.inputs import pair_features
from train.packing import pack
from train.recipe import Recipe
from train.targets import gaussian

from .tiny import RECIPE, loss


def test_phase_1_lowers_its_loss(phase1, tiny_shop):
    train = tiny_shop.of("train")
    targets = gaussian([row.relevance for row in train.judgments])
    scored = TransformersScorer(phase1).score([train.pair(row) for row in train.judgments]).probabilities

    def divergence(predicted: np.ndarray) -> float:
        return float((targets * np.log(targets / np.maximum(predicted, 1e-9))).sum(axis=1).mean())

    # The best constant distribution knows the grades but not the pairs; a model that reads them does better.
    assert divergence(scored) < divergence(targets.mean(axis=0, keepdims=True)) < divergence(np.full((1, 11), 1 / 11))


def test_a_checkpoint_says_where_it_comes_from(phase1, tiny_data):
    provenance = phase1.card.provenance
    assert provenance.data == Dataset.load(tiny_data).fingerprint
    assert provenance.recipe["distributional"]["max_steps"] == 120
    assert set(provenance.metrics) == {"train_loss", "validation_loss", "validation_ndcg@5", "validation_rps"}


def test_nothing_but_the_checkpoint_is_left(phase1):
    assert [path.name for path in phase1.folder.parent.iterdir()] == ["phase1"]


WAYS = {
    "muon": {},
    "adamw": {"distributional": {"muon_learning_rate": None, "readout_learning_rate": 5e-3}},
    "bfloat16": {"weights": "bfloat16", "distributional": {"muon_learning_rate": None}},
    "lora": {"lora": {"r": 4}, "distributional": {"muon_learning_rate": None}},
    "qlora": {"lora": {"r": 4}, "quantize_base": "nf4", "distributional": {"muon_learning_rate": None}},
    "8-bit optimizer": {"distributional": {"muon_learning_rate": None, "optim": "adamw_8bit"}},
}


@pytest.mark.parametrize("way", ["muon", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "muon")])
def test_a_resumed_run_ends_where_an_undisturbed_one_does(way, phase1, tiny_data, tmp_path, monkeypatch):
    changed = WAYS[way]
    arguments = {**RECIPE.distributional, **changed.get("distributional", {}), "max_steps": 40, "save_steps": 17}
    recipe = Recipe.model_validate(
        {**RECIPE.model_dump(), "base": str(phase1.folder), **changed, "distributional": arguments}
    )

    def stop(*_, **__):
        raise InterruptedError

    # Stopped after training as a killed process would be: what is left is the trainer's state at step 17.
    monkeypatch.setattr(life, "training_run", stop)
    out = tmp_path / "resumed"
    with pytest.raises(InterruptedError):
        train_distributional(recipe, tiny_data, out)
    monkeypatch.undo()
    for later in (34, 40):
        shutil.rmtree(tmp_path / "resumed.training" / f"checkpoint-{later}", ignore_errors=True)
    resumed = train_distributional(recipe, tiny_data, out, resume=True)
    undisturbed = train_distributional(recipe, tiny_data, tmp_path / "undisturbed")
    first, second = (load_file(c.folder / "model.safetensors") for c in (undisturbed, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = load_file(phase1.folder / "model.safetensors")
    assert any(not torch.equal(start[name], first[name]) for name in first)


@dataclass
class Tuned:
    """A checkpoint that was a LoRA on phase 1's base, and what was seen on the way."""

    checkpoint: Checkpoint
    merged: Checkpoint
    """The same before its weights are rounded to bfloat16."""
    adapter: Distribution
    """What the LoRA beside its base says of the validation pairs."""
    dtypes: set[torch.dtype]
    """Of what was trained."""
    tolerance: float
    """By which the merged model's scores may differ from the adapter's."""


@pytest.fixture(scope="module", params=[None, "nf4", "int8"], ids=str)
def tuned(request, phase1, tiny_data, tmp_path_factory) -> Tuned:
    arguments = {**RECIPE.distributional, "muon_learning_rate": None, "max_steps": 60, "learning_rate": 1e-2}
    changed = {"base": str(phase1.folder), "lora": {"r": 4, "alpha": 8}, "distributional": arguments}
    recipe = Recipe.model_validate({**RECIPE.model_dump(), **changed, "quantize_base": request.param})
    folder = tmp_path_factory.mktemp("runs")
    seen: dict[str, Any] = {}

    def unsharded(trainer: Any) -> Any:
        seen["dtypes"] = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
        if request.param is None:
            # Compare in float32; layers of a quantized base compute in bfloat16 whatever is asked.
            trainer.model.float()
        seen["adapter"] = Distribution.from_logits(trainer.validation_logits()[0].numpy())
        return trainer.model

    save = Distributional.save

    def save_merged_too(training: Any, lesson: Any, model: Any, card: Any, out: Path) -> None:
        plain = plain_model(model)
        for part in (plain, lesson.trainer.processing_class):
            part.save_pretrained(folder / "merged")
        card.save(folder / "merged")
        save(training, lesson, plain, card, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributional, "unsharded", unsharded)
        patch.setattr(Distributional, "save", save_merged_too)
        checkpoint = train_distributional(recipe, tiny_data, folder / "lora")
    tolerance = 1e-3 if request.param is None else 5e-3
    return Tuned(checkpoint, Checkpoint.open(folder / "merged"), tolerance=tolerance, **seen)


def test_lora_is_merged_into_a_plain_checkpoint(tuned, phase1, tiny_shop):
    assert tuned.dtypes == {torch.float32}, "what is trained is never kept in bfloat16"
    weights = [load_file(c.folder / "model.safetensors") for c in (tuned.checkpoint, phase1)]
    assert set(weights[0]) == set(weights[1])
    assert loss(tuned.checkpoint, tiny_shop.of("train")) < loss(phase1, tiny_shop.of("train"))
    validation = tiny_shop.of("validation")
    pairs = [validation.pair(row) for row in validation.judgments]
    assert np.allclose(TransformersScorer(tuned.merged).score(pairs).mean, tuned.adapter.mean, atol=tuned.tolerance)
    # Rounding the weights to bfloat16 is all that the written checkpoint differs by.
    assert np.allclose(TransformersScorer(tuned.checkpoint).score(pairs).mean, tuned.adapter.mean, atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [None], indirect=True, ids=str)
def test_vllm_serves_the_merged_checkpoint_with_the_scores_of_the_adapter(tuned, tiny_shop):
    validation = tiny_shop.of("validation")
    with VllmScorer(tuned.merged, dtype="float32") as scorer:
        served = scorer.score([validation.pair(row) for row in validation.judgments])
    assert np.allclose(served.mean, tuned.adapter.mean, atol=1e-3)


def test_the_trainer_and_the_scorer_read_the_same_states(phase1, tiny_shop):
    """What phase 2 learns on is what scoring computes: no gap between training and serving."""
    test = tiny_shop.of("test")
    pairs = [test.pair(row) for row in test.judgments]
    encoded = phase1.prompt.encode(pairs)
    model, _ = open_base(Recipe(), phase1.folder, [])
    rows = pack(encoded, [row.product_id for row in test.judgments], row_tokens=128)
    features = torch.tensor(pair_features(model, rows, len(pairs)))
    logits = features @ model.get_output_embeddings().weight[list(phase1.card.readout.token_ids)].T
    scored = TransformersScorer(phase1).score_tokens(encoded)
    assert np.allclose(logits.softmax(dim=-1).detach().numpy(), scored.probabilities, atol=1e-5)


def test_a_trained_model_ranks_through_the_five_lines(phase1):
    ranked = Reranker.load(phase1.folder).rank("red desk please", ["red desk", "blue kettle"], top_k=1)
    assert len(ranked) == 1
    assert 0 <= ranked[0].score <= 1


def test_what_is_in_the_way_is_said(phase1, tiny_data, tmp_path):
    with pytest.raises(BadInput, match="already exists"):
        train_distributional(RECIPE, tiny_data, phase1.folder)
    with pytest.raises(BadInput, match="nothing to resume"):
        train_distributional(RECIPE, tiny_data, tmp_path / "new", resume=True)


def test_a_shop_without_training_queries_is_refused(tiny_shop, tmp_path):
    tiny_shop.of("test").save(tmp_path / "data")
    with pytest.raises(BadInput, match="no query of the split 'train'"):
        train_distributional(RECIPE, tmp_path / "data", tmp_path / "out")


def test_a_shop_without_validation_queries_trains_and_is_not_measured(tiny_shop, tmp_path):
    tiny_shop.of("train").save(tmp_path / "data")
    section = {**RECIPE.distributional, "max_steps": 3}
    recipe = RECIPE.model_copy(update={"distributional": section})
    done = train_distributional(recipe, tmp_path / "data", tmp_path / "out")
    assert set(done.card.provenance.metrics) == {"train_loss"}
    assert "not measured" in (done.folder / "README.md").read_text(encoding="utf-8").lower()
    asked = RECIPE.model_copy(update={"distributional": {**section, "eval_strategy": "steps"}})
    with pytest.raises(BadInput, match="eval_strategy needs judged queries"):
        train_distributional(asked, tmp_path / "data", tmp_path / "other")
