"""Packed weights become the plain ones that their codes stand for."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.card import CARD
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.dequantize import (
    PackedLayer,
    check_packed,
    dequantize,
    megabytes,
    packed_layers,
    rounds_activations,
    scheme_of,
)
from gen_rerank.checkpoints.folders import read_json
from gen_rerank.scorers.transformers import TransformersScorer
from quant.quantize import quantize

pytest.importorskip("llmcompressor")

LAYER = "model.layers.1.mlp.down_proj"
# What the sixteen codes of a 4-bit float (E2M1) are worth: sign, two bits of exponent, one of mantissa.
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


@pytest.fixture(scope="module")
def wide(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint 128 wide with other random weights: fp8-block takes no less."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("wide") / "model"))
    config = AutoConfig.from_pretrained(folder)
    config.update({"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def packed(
    tiny_checkpoint: Path, wide: Path, tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Checkpoint]:
    """Quantizes the tiny checkpoint, or the wide one where it must be, each scheme once."""
    folder = tmp_path_factory.mktemp("packed")

    def make(scheme: str) -> Checkpoint:
        out = folder / scheme
        parent = wide if scheme == "fp8-block" else tiny_checkpoint
        return Checkpoint.open(out) if out.is_dir() else quantize(parent, scheme, out, tiny_shop, example_pairs=32)

    return make


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return {
        name: tensor for file in checkpoint.folder.glob("*.safetensors") for name, tensor in load_file(file).items()
    }


def fp4(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    codes = parts[f"{LAYER}.weight_packed"].long()
    return E2M1[torch.stack((codes & 15, codes >> 4), dim=-1).flatten(1)]


def mxfp4(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    scales = 2.0 ** (parts[f"{LAYER}.weight_scale"].float() - 127)
    return fp4(parts) * scales.repeat_interleave(32, dim=1)


def nvfp4(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    scales = parts[f"{LAYER}.weight_scale"].float() / parts[f"{LAYER}.weight_global_scale"].float()
    return fp4(parts) * scales.repeat_interleave(16, dim=1)


def int4(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    words, scales = parts[f"{LAYER}.weight_packed"], parts[f"{LAYER}.weight_scale"].float()
    values = torch.stack([(words >> shift) & 15 for shift in range(0, 32, 4)], dim=-1).flatten(1) - 8.0
    return values * scales.repeat_interleave(values.shape[1] // scales.shape[1], dim=1)


def scaled(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    return parts[f"{LAYER}.weight"].float() * parts[f"{LAYER}.weight_scale"].float()


def blocks(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    scales = parts[f"{LAYER}.weight_scale"].float().repeat_interleave(128, dim=0).repeat_interleave(128, dim=1)
    return parts[f"{LAYER}.weight"].float() * scales


@pytest.mark.parametrize(
    ("scheme", "decode"),
    [
        ("mxfp4", mxfp4),
        ("nvfp4", nvfp4),
        ("w4a16-gptq", int4),
        ("int8", scaled),
        ("int8-smoothquant", scaled),
        ("fp8", scaled),
        ("fp8-block", blocks),
    ],
)
def test_weights_are_what_the_codes_stand_for(
    packed: Callable[[str], Checkpoint],
    scheme: str,
    decode: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    tmp_path: Path,
) -> None:
    checkpoint = packed(scheme)
    expected = decode(weights(checkpoint))
    plain = weights(dequantize(checkpoint, tmp_path).checkpoint)
    assert plain[f"{LAYER}.weight"].dtype == torch.bfloat16
    assert plain[f"{LAYER}.weight"].equal(expected.to(torch.bfloat16))
    if scheme == "mxfp4":  # exact: nothing was rounded
        assert plain[f"{LAYER}.weight"].float().equal(expected)


def test_scores_are_those_of_the_packed_weights_without_rounded_activations(
    packed: Callable[[str], Checkpoint], tiny_shop: Dataset, tmp_path: Path
) -> None:
    checkpoint = packed("mxfp4")
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:40]]
    scorer = TransformersScorer(checkpoint)
    rounded = scorer.score(pairs).mean
    for module in scorer.network.backbone.modules():
        module.quantization_enabled = False  # compressed-tensors' switch: the weights are decoded, the inputs stay
    expected = scorer.score(pairs).mean
    found = TransformersScorer(dequantize(checkpoint, tmp_path).checkpoint).score(pairs).mean
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.abs(found - rounded).max() > 1e-5
    assert rounds_activations(checkpoint)


def test_the_folder_is_plain(packed: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    checkpoint = packed("mxfp4")
    done = dequantize(checkpoint, tmp_path / "new" / "plain")
    plain = done.checkpoint
    assert "quantization_config" not in plain.config
    assert plain.config["dtype"] == "bfloat16"
    assert (plain.folder / "tokenizer.json").read_bytes() == (checkpoint.folder / "tokenizer.json").read_bytes()
    assert plain.card.readout == checkpoint.card.readout
    assert plain.card.calibration == checkpoint.card.calibration
    made = read_json(plain.folder / CARD)["provenance"]["quantization"]
    assert made == read_json(checkpoint.folder / CARD)["provenance"]["quantization"] | {"dequantized": True}
    before, after = weights(checkpoint), weights(plain)
    untouched = before.keys() & after.keys()
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= untouched
    assert all(after[name].equal(before[name]) for name in untouched)
    model, report = AutoModelForCausalLM.from_pretrained(plain.folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert sum(tensor.nbytes for tensor in after.values()) <= done.plain_bytes  # and a header
    assert done.packed_bytes < done.plain_bytes
    assert model.config.vocab_size == plain.config["vocab_size"]


def test_layers_are_known_without_reading_weights(packed: Callable[[str], Checkpoint]) -> None:
    for scheme in ("mxfp4", "nvfp4", "w4a16-gptq", "int8"):
        layers = packed_layers(packed(scheme))
        assert len(layers) == 2 * 7
        assert PackedLayer(LAYER, inputs=128, outputs=64) in layers
        assert scheme_of(packed(scheme)) == scheme


def test_several_files_may_share_a_layer(packed: Callable[[str], Checkpoint], tmp_path: Path) -> None:
    """The codes of a layer in one file, its scales in another."""
    whole = packed("mxfp4")
    folder = tmp_path / "sharded"
    shutil.copytree(whole.folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = weights(whole)
    scales = {name: tensor for name, tensor in tensors.items() if name.endswith("_scale")}
    rest = {name: tensor for name, tensor in tensors.items() if name not in scales}
    for file, part in (("model-00001-of-00002", rest), ("model-00002-of-00002", scales | {"extra": torch.ones(2)})):
        save_file(part, folder / f"{file}.safetensors")
    plain = dequantize(Checkpoint.open(folder), tmp_path / "plain").checkpoint
    assert weights(plain)[f"{LAYER}.weight"].float().equal(mxfp4(tensors))
    places = read_json(plain.folder / "model.safetensors.index.json")["weight_map"]
    for name, file in places.items():
        with safe_open(plain.folder / file, framework="pt") as opened:
            assert name in opened.keys()  # noqa: SIM118
    assert places.keys() == weights(plain).keys()


def test_what_is_not_packed_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    for config in (checkpoint.config, checkpoint.config | {"quantization_config": None}):
        with pytest.raises(BadInput, match="not quantized, so there is nothing to dequantize; leave --dequantize out"):
            dequantize(dataclasses.replace(checkpoint, config=config), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_configuration_without_packed_weights_is_refused(
    packed: Callable[[str], Checkpoint], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    shutil.copyfile(packed("int8").folder / "config.json", folder / "config.json")
    checkpoint = Checkpoint.open(folder)
    for use in (packed_layers, check_packed, lambda opened: dequantize(opened, tmp_path / "plain")):
        with pytest.raises(BadInput, match=r"has a quantization_config, but no layer of the weights has scales"):
            use(checkpoint)
    assert not (tmp_path / "plain").exists()


def test_another_librarys_packing_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    checkpoint.config["quantization_config"] = {"quant_method": "bitsandbytes"}
    with pytest.raises(BadInput, match="quantized by bitsandbytes; only compressed-tensors checkpoints"):
        dequantize(checkpoint, tmp_path)


def test_a_full_disk_is_noticed_before(
    packed: Callable[[str], Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(BadInput, match=r"its plain weights take 0\.\d MB, and .* has 0\.0 MB left; free some space"):
        dequantize(packed("mxfp4"), tmp_path)
    assert not any(tmp_path.iterdir())


def test_sizes_are_readable() -> None:
    assert megabytes(3_400_000) == "3.4 MB"
    assert megabytes(1_192_099_840) == "1,192.1 MB"
