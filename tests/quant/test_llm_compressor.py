"""What llm-compressor makes of layers: exact grids, groups that fit, heads left alone, and a process left as it was."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers.utils.logging import disable_progress_bar, enable_progress_bar

from gen_rerank import BadInput, Dataset, Pair
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import scheme_named
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers.transformers import TransformersScorer
from quant.llm_compressor import group_for, linear_layers
from quant.quantize import quantize
from train.encoder_bases import EncoderShape, new_encoder

LAYER = "model.layers.1.mlp.up_proj"
PAIRS = 32


def test_int8_is_exact(wide_int8: Path, parent: Path) -> None:
    """Weights and activations are rounded to the grid we compute ourselves, and the activations in every call."""
    weight = load_file(parent / "model.safetensors")[f"{LAYER}.weight"]
    stored = load_file(wide_int8 / "model.safetensors")
    scale = weight.abs().amax(dim=1, keepdim=True) / 127.5
    grid = (weight / scale).clamp(-128, 127).round()
    assert torch.equal(stored[f"{LAYER}.weight"].float(), grid)
    assert torch.allclose(stored[f"{LAYER}.weight_scale"].float(), scale)

    layer = TransformersScorer(Checkpoint.open(wide_int8)).network.backbone.get_submodule(LAYER.removeprefix("model."))
    inputs = torch.randn(3, 5, weight.shape[1], generator=torch.Generator().manual_seed(0))
    step = inputs.abs().amax(dim=-1, keepdim=True) / 127.5
    rounded = (inputs / step).clamp(-128, 127).round() * step
    with torch.inference_mode():
        outputs = layer(inputs)
    assert torch.allclose(outputs, rounded @ (grid * scale).T, atol=1e-5)
    assert not torch.allclose(outputs, inputs @ (grid * scale).T, atol=1e-5)


def test_fp8_scales_are_exact(parent: Path, tmp_path: Path) -> None:
    """The largest weight of a row becomes 448, the largest number of E4M3."""
    stored = load_file(quantize(parent, "fp8", tmp_path / "out").folder / "model.safetensors")
    weight = load_file(parent / "model.safetensors")[f"{LAYER}.weight"]
    scale = weight.abs().amax(dim=1, keepdim=True) / 448
    assert torch.allclose(stored[f"{LAYER}.weight_scale"].float(), scale)
    assert torch.equal(stored[f"{LAYER}.weight"].float(), (weight / scale).to(torch.float8_e4m3fn).float())
    assert stored[f"{LAYER}.weight"].float().abs().amax(dim=1).eq(448).all()


def test_w4a16_takes_the_largest_group_that_divides(tiny_checkpoint: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    """The tiny checkpoint is 64 wide: the preset's 128 would divide its MLP only."""
    said = io.StringIO()
    checkpoint = quantize(
        tiny_checkpoint, "w4a16-gptq", tmp_path / "out", tiny_shop, example_pairs=PAIRS,
        console=Console(file=said, width=200),
    )  # fmt: skip
    (group,) = checkpoint.config["quantization_config"]["config_groups"].values()
    assert group["weights"]["group_size"] == 64
    stored = load_file(checkpoint.folder / "model.safetensors")
    assert stored["model.layers.0.mlp.down_proj.weight_scale"].shape == (64, 2)
    made = checkpoint.card.provenance.quantization
    assert made is not None
    assert made.recipe[0]["arguments"]["config_groups"]["group_0"]["weights"]["group_size"] == 64
    assert "groups of 64, because 128 does not divide every layer" in said.getvalue()
    assert "scales set on 32 pairs (" in said.getvalue()
    where = "where w4a16-gptq runs: CPU: native, 4-bit weights and 16-bit activations; Hopper: native, 4-bit weights"
    assert said.getvalue().splitlines()[-1].startswith(where)
    with pytest.raises(BadInput, match=r"fp8-block needs layers whose input size is a multiple of 128, but .* has 64"):
        quantize(tiny_checkpoint, "fp8-block", tmp_path / "block")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_process_and_its_folder_are_left_as_they_were(
    parent: Path, tiny_shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before, logged = dict(os.environ), logging.root.manager.disable
    disable_progress_bar()  # as the command does
    quantize(parent, "w4a16-gptq", "out", tiny_shop, example_pairs=PAIRS)
    enable_progress_bar()
    assert dict(os.environ) == before
    assert logging.root.manager.disable == logged
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]
    said = capfd.readouterr()
    assert said.out == ""
    for noise in ("INFO", "WARNING", "Calibrating", "Propagating", "METRIC", "it/s"):
        assert noise not in said.err


def test_a_layer_that_the_scheme_cannot_group() -> None:
    model = torch.nn.ModuleDict({"odd": torch.nn.Linear(40, 256), "lm_head": torch.nn.Linear(7, 8)})
    layers, left = linear_layers(model)
    assert (list(layers), left) == (["odd"], ["lm_head"])
    with pytest.raises(BadInput, match="mxfp4 needs layers whose input size is a multiple of 32, but odd has 40"):
        group_for(scheme_named("mxfp4"), layers)
    assert group_for(scheme_named("int8"), layers) == 1


@pytest.mark.parametrize(("inputs", "group"), [((128, 256), 128), ((128, 192), 64), ((192, 96), 32)])
def test_the_first_group_that_divides_all_inputs(inputs: tuple[int, ...], group: int) -> None:
    layers = {str(size): torch.nn.Linear(size, 64) for size in inputs}
    assert group_for(scheme_named("w4a16-gptq"), layers) == group


def test_an_output_that_blocks_cannot_cover() -> None:
    """vLLM joins queries, keys and values, and a block may not straddle two of them."""
    with pytest.raises(BadInput, match="whose output size is a multiple of 128, but k_proj has 64"):
        group_for(scheme_named("fp8-block"), {"k_proj": torch.nn.Linear(128, 64)})


def test_int8_weights_are_a_quarter_of_float32_on_disk(wide_int8: Path, parent: Path) -> None:
    def linear_bytes(folder: Path) -> int:
        tensors = load_file(folder / "model.safetensors")
        return sum(tensor.nbytes for name, tensor in tensors.items() if "_proj.weight" in name)

    assert linear_bytes(wide_int8) < 0.3 * linear_bytes(parent)


@pytest.fixture(scope="module")
def encoder(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModernBERT of two layers with random weights, whose head reads strongly enough for scores to spread."""
    folder = tmp_path_factory.mktemp("encoder")
    texts = [f"{product.title} {product.description} {product.category}" for product in tiny_shop.products.values()]
    shape = EncoderShape(hidden=64, layers=2, mlp=96, heads=2, vocabulary=512)
    new_encoder(texts, shape, folder, max_length=64)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] *= 20
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=64)).save(folder)
    return folder


@pytest.mark.parametrize("scheme", ["int8", "fp8", "mxfp4", "mxfp4a16"])
def test_an_encoder_keeps_its_head(scheme: str, encoder: Path, pairs: list[Pair], tmp_path: Path) -> None:
    checkpoint = quantize(encoder, scheme, tmp_path / "out")
    before, after = load_file(encoder / "model.safetensors"), load_file(checkpoint.folder / "model.safetensors")
    quantized = {name.removesuffix("_scale") for name in after if name.endswith(".weight_scale")}
    ends = ("attn.Wqkv.weight", "attn.Wo.weight", "mlp.Wi.weight", "mlp.Wo.weight")
    assert quantized == {name for name in before if name.endswith(ends)}
    assert len(quantized) == 8
    for name in before.keys() - quantized:
        assert torch.equal(before[name].to(torch.bfloat16), after[name]), name
    assert sorted(checkpoint.config["quantization_config"]["ignore"]) == ["classifier", "head.dense"]
    one, other = (TransformersScorer(model).score(pairs).mean for model in (Checkpoint.open(encoder), checkpoint))
    assert np.ptp(one) > 0.01
    assert not np.array_equal(one, other)
    assert np.corrcoef(one, other)[0, 1] > {"int8": 0.98, "fp8": 0.9}.get(scheme, 0.5)


def test_smoothing_is_not_for_encoders(encoder: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"an encoder, and int8-smoothquant is for decoders; choose one of int8, w4a16"):
        quantize(encoder, "int8-smoothquant", tmp_path / "out", tiny_shop)
