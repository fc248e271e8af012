"""Fake quantization computes what the quantized checkpoint does, lets gradients through, and leaves plain weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.schemes import scheme_named
from gen_rerank.scorers.transformers import DecoderNetwork, TransformersScorer
from quant.quantize import quantize
from train.bases import open_checkpoint
from train.distributional import train_distributional
from train.fake_quantization import FakeQuantization, add_fake_quantization
from train.inputs import pair_features
from train.packing import pack
from train.pair_trainer import validation_metrics
from train.recipe import Recipe

SCHEMES = get_args(FakeQuantization)


@pytest.fixture(scope="module")
def parent(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint in bfloat16, as trained ones are: what is not quantized stays as it is."""
    folder = tmp_path_factory.mktemp("parent") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


class OneLayer(nn.Module):
    """A linear layer, `weight` given, that is no readout."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.layer = nn.Linear(len(weight[0]), len(weight), bias=False)
        self.layer.weight.data = torch.tensor(weight)

    def get_output_embeddings(self) -> None:
        return None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_schemes_that_need_no_examples_are_offered(scheme: FakeQuantization) -> None:
    assert not scheme_named(scheme).needs_examples


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_states_are_those_of_the_quantized_checkpoint(
    scheme: FakeQuantization, parent: Path, tiny_shop: Dataset, tmp_path: Path
) -> None:
    quantized = quantize(parent, scheme, tmp_path / scheme)
    rows = tiny_shop.of("test").judgments[:24]
    encoded = quantized.prompt.encode([tiny_shop.pair(row) for row in rows])
    packed = pack(encoded, [row.product_id for row in rows], row_tokens=256)
    assert len(packed) < len(rows)
    model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    plain = pair_features(model, packed, len(rows))
    add_fake_quantization(model, scheme)
    found = pair_features(model, packed, len(rows))
    wanted = pair_features(open_checkpoint(quantized)[0], packed, len(rows))
    assert np.abs(found - wanted).max() < 1e-4
    assert np.abs(plain - wanted).max() > 1e-2, "rounding must show"
    # Each pair alone, as it is scored: other shapes differ in the last digit, and a value halfway between two steps may
    # go either way.
    scorer = TransformersScorer(quantized)
    assert isinstance(scorer.network, DecoderNetwork)
    scorer.network.rows = torch.eye(64)  # read the whole state
    alone = np.abs(found - scorer.logits(encoded).numpy()).max(axis=1)
    assert np.median(alone) < 1e-4
    assert alone.max() < 2e-2


def test_int8_by_hand() -> None:
    # The scale of a row is its largest magnitude / 127.5: 1 of the weight's, and 2 of the input's.
    model = OneLayer([[127.5, 3.4, -2.6, 0.2]])
    add_fake_quantization(model, "int8")
    values = torch.tensor([[[255.0, 7.0, 0.9, -5.2]]], requires_grad=True)
    weight = [127.0, 3.0, -3.0, 0.0]  # 127 is the largest whole number
    rounded = [254.0, 8.0, 0.0, -6.0]  # 3.5 goes to the even 4
    answer = model.layer(values)
    assert answer.item() == pytest.approx(sum(w * v for w, v in zip(weight, rounded, strict=True)))
    answer.sum().backward()
    assert values.grad is not None
    assert model.layer.weight.grad is not None
    assert values.grad.flatten().tolist() == weight, "the input's gradient is that of the rounded weight"
    assert model.layer.weight.grad.flatten().tolist() == rounded, "the weight's, that of the rounded input"


def test_mxfp4_by_hand() -> None:
    # A group of 32 whose largest magnitude is 6 has the scale 1, and the grid 0, 0.5, 1, 1.5, 2, 3, 4, 6.
    model = OneLayer([[6.0, 0.2, 0.7, 2.6, -4.6, -5.1] + [0.0] * 26])
    add_fake_quantization(model, "mxfp4a16")
    answer = model.layer(torch.eye(32)[None])
    assert answer[0, :6, 0].tolist() == [6.0, 0.0, 0.5, 3.0, -4.0, -6.0]


def test_scales_follow_the_weight() -> None:
    model = OneLayer([[1.0, 0.25]])
    add_fake_quantization(model, "int8")
    first = model.layer(torch.ones(1, 1, 2)).item()
    with torch.no_grad():
        model.layer.weight.mul_(1000)
    assert model.layer(torch.ones(1, 1, 2)).item() == pytest.approx(1000 * first)


def test_the_readout_is_left_alone(tiny_checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    add_fake_quantization(model, "mxfp4")
    changed = {name.rpartition(".")[2] for name, module in model.named_modules() if "forward" in vars(module)}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    plain = AutoModelForCausalLM.from_pretrained(tiny_checkpoint).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in model.state_dict().items())
    assert len(model.state_dict()) == len(plain)


def test_groups_must_fit() -> None:
    with pytest.raises(BadInput, match=r"multiple of 32, but layer has 48; choose int8 or fp8$"):
        add_fake_quantization(OneLayer([[1.0] * 48]), "mxfp4")


TRAINING: dict[str, Any] = {
    "shape": {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 2, "mlp": 128},
    "prompt": {"max_length": 96, "instruction": "Rate."},
    "distributional": {
        "muon_learning_rate": 0.01, "learning_rate": 2e-3, "row_tokens": 128, "batch_tokens": 512,
        "max_steps": 30, "save_steps": 30, "logging_steps": 5, "bf16": False, "disable_tqdm": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_trained_checkpoint_quantizes_to_what_training_measured(
    optimizer: str, tiny_checkpoint: Path, tiny_data: Path, tiny_shop: Dataset, tmp_path: Path
) -> None:
    arguments = dict(TRAINING["distributional"])
    if optimizer == "adamw":
        del arguments["muon_learning_rate"]
    recipe = Recipe.model_validate(
        {**TRAINING, "base": str(tiny_checkpoint), "fake_quantization": "mxfp4", "distributional": arguments}
    )
    trained = train_distributional(recipe, tiny_data, tmp_path / "trained")
    assert "quantization_config" not in trained.config
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, trained.folder))
    assert set(before) == set(after)
    for name in before:
        if name.endswith("_proj.weight"):
            assert not torch.equal(before[name].bfloat16(), after[name]), f"no gradient reached {name}"
    provenance = trained.card.provenance
    assert provenance.recipe is not None
    assert provenance.recipe["fake_quantization"] == "mxfp4"
    assert "trained (mxfp4)" in (trained.folder / "README.md").read_text(encoding="utf-8")
    quantized = quantize(trained.folder, "mxfp4", tmp_path / "quantized")
    validation = tiny_shop.of("validation")
    scores = TransformersScorer(quantized).score([validation.pair(row) for row in validation.judgments])
    measured = provenance.metrics or {}
    # Between the two lies the rounding of the trained weights to bfloat16.
    assert measured["validation_rps"] == pytest.approx(validation_metrics(validation, scores)["rps"], abs=5e-3)


def test_a_lora_is_refused() -> None:
    with pytest.raises(ValueError, match="a LoRA is merged"):
        Recipe.model_validate({"lora": {"r": 4}, "fake_quantization": "int8"})


def test_the_preset_is_read() -> None:
    assert Recipe.load("nano-qat").fake_quantization == "mxfp4"
