"""Reading a folder's tensors: decoded by hand where they are int8, refused in words where they are broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gen_rerank import BadInput
from gen_rerank.checkpoints.weights import READOUT_MODULES, Weights, reads_out
from quant.quantize import quantize

pytest.importorskip("llmcompressor")

LAYER = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def int8_copy(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(tiny_checkpoint, "int8", tmp_path_factory.mktemp("int8") / "int8").folder


def test_int8_is_integers_times_scales(int8_copy: Path) -> None:
    weights, stored = Weights.open(int8_copy), load_file(int8_copy / "model.safetensors")
    decoded = weights.weight(LAYER)
    assert decoded.dtype == torch.float32
    by_hand = stored[f"{LAYER}.weight"].float() * stored[f"{LAYER}.weight_scale"].float()
    assert torch.allclose(decoded, by_hand, rtol=2**-8)
    assert weights.stored_as(LAYER) == "int8"
    assert weights.stored_as("model.embed_tokens") is None
    assert weights.is_to_be_quantized(LAYER)
    assert not weights.is_to_be_quantized("lm_head")


def test_plain_weights_are_read_as_they_are(tiny_checkpoint: Path) -> None:
    weights = Weights.open(tiny_checkpoint)
    assert torch.equal(weights.weight(LAYER), load_file(tiny_checkpoint / "model.safetensors")[f"{LAYER}.weight"])
    assert LAYER in weights.modules
    assert weights.scaled == frozenset()
    assert not weights.is_to_be_quantized(LAYER)


def test_a_shape_is_that_of_the_decoded_weight(int8_copy: Path) -> None:
    weights = Weights.open(int8_copy)
    assert len(weights.scaled) == 2 * 7
    for layer in weights.scaled:
        assert weights.shape(layer) == tuple(weights.weight(layer).shape)


def test_the_most_specific_target_says_how_a_layer_is_quantized(int8_copy: Path, tmp_path: Path) -> None:
    """A name counts more than a pattern, and a pattern more than the class, in whatever order they stand."""
    shutil.copyfile(int8_copy / "model.safetensors", tmp_path / "model.safetensors")
    stored = json.loads((int8_copy / "config.json").read_text())["quantization_config"]
    int8 = stored["config_groups"]["group_0"]
    int4 = {**int8, "format": "pack-quantized", "weights": {**int8["weights"], "num_bits": 4}}

    def decoded(*groups: dict[str, object]) -> torch.Tensor:
        config = {"quantization_config": {**stored, "config_groups": {f"group_{i}": g for i, g in enumerate(groups)}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return Weights.open(tmp_path).weight(LAYER)

    expected = Weights.open(int8_copy).weight(LAYER)
    pattern = {**int8, "targets": ["re:.*up_proj"]}
    assert torch.equal(decoded({**int4, "targets": ["Linear"]}, pattern), expected)
    assert torch.equal(decoded({**int4, "targets": ["re:.*"]}, {**int8, "targets": [LAYER]}), expected)
    with pytest.raises(BadInput, match=f"quantized as pack-quantized, but the weights have no {LAYER}.weight_packed"):
        decoded({**int4, "targets": [LAYER]}, pattern)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("lm_head", True), ("score", True), ("classifier", True), ("classifier.out_proj", True), ("head.dense", True),
        ("bert.pooler.dense", True), ("lm_head.weight_scale", True), ("model.layers.0.attn.Wqkv", False),
        ("model.layers.3.mlp.up_proj", False), ("bert.encoder.layer.0.attention.self.query", False),
        ("multihead", False),
    ],
)  # fmt: skip
def test_what_reads_the_pooled_state_is_known_by_its_name(name: str, reads: bool) -> None:
    assert reads_out(name) == reads
    assert all(map(reads_out, READOUT_MODULES))


def test_broken_folders(int8_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"config\.json is missing"):
        Weights.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"no \*\.safetensors"):
        Weights.open(tmp_path)
    shutil.copyfile(int8_copy / "model.safetensors", tmp_path / "model.safetensors")
    weights = Weights.open(tmp_path)
    with pytest.raises(BadInput, match=f"does not say how {LAYER} is quantized"):
        weights.weight(LAYER)
    with pytest.raises(BadInput, match="have no nothing"):
        weights.tensor("nothing")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"config_groups": 3}}))
    with pytest.raises(BadInput, match="quantization_config"):
        Weights.open(tmp_path).weight(LAYER)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match="not a readable safetensors file"):
        Weights.open(tmp_path)
