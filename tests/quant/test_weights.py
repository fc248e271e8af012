"""Reading a folder's tensors: decoded by hand where they are int8, refused in words where they are broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gen_rerank import BadInput
from quant.weights import Weights

LAYER = "model.layers.1.mlp.up_proj"


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


def test_plain_weights_are_read_as_they_are(reference: Path) -> None:
    weights = Weights.open(reference)
    assert torch.equal(weights.weight(LAYER), load_file(reference / "model.safetensors")[f"{LAYER}.weight"])
    assert LAYER in weights.modules
    assert not weights.is_to_be_quantized(LAYER)


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
