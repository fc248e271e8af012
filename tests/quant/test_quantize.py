"""Quantization for real, with llm-compressor, on the tiny checkpoint: what is written, what is refused, what is left behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_rerank import BadInput, Dataset, Distribution, Pair
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from quant import quantize as module
from quant.quantize import quantize
from quant.schemes import SCHEMES, scheme_named

# The least correlation with the parent's scores, on random weights, which are harder to quantize than trained ones.
NEAR = {"int8": 0.98, "fp8": 0.85, "mxfp4": 0.4}
STORED = {"int8": torch.int8, "fp8": torch.float8_e4m3fn, "mxfp4": torch.uint8}
LAYER = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads cost more than they give on matrices this small, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def parent(tiny_checkpoint: Path, tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with bin rows (never an input) that read what differs most between pairs, so that scores spread."""
    folder = tmp_path_factory.mktemp("parent") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    checkpoint = Checkpoint.open(folder)
    scorer = TransformersScorer(checkpoint)
    scorer.network.rows = torch.eye(64)
    hidden = scorer._logits(checkpoint.prompt.encode([tiny_shop.pair(judgment) for judgment in tiny_shop.judgments]))
    centre = hidden.mean(dim=0)
    varies = torch.linalg.svd(hidden - centre).Vh[0]
    varies -= (varies @ centre) / (centre @ centre) * centre
    worth = torch.linspace(-0.5, 0.5, 11)[:, None]
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][list(checkpoint.card.readout.token_ids)] = (
        6 * worth * varies / (hidden @ varies).std()
    )
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module", params=[scheme.name for scheme in SCHEMES])
def quantized(
    request: pytest.FixtureRequest, parent: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Checkpoint]:
    out = tmp_path_factory.mktemp("out") / "deep" / request.param
    return request.param, quantize(parent, request.param, out)


@pytest.fixture(scope="module")
def int8(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(parent, "int8", tmp_path_factory.mktemp("int8") / "model").folder


@pytest.fixture(scope="module")
def pairs(tiny_shop: Dataset) -> list[Pair]:
    return [tiny_shop.pair(judgment) for judgment in tiny_shop.judgments[:40]]


def test_scores_stay_near_the_parents(quantized: tuple[str, Checkpoint], parent: Path, pairs: list[Pair]) -> None:
    scheme, checkpoint = quantized
    before = TransformersScorer(Checkpoint.open(parent)).score(pairs).mean
    after = TransformersScorer(checkpoint).score(pairs).mean
    assert np.ptp(before) > 0.5, "the parent must say something"
    assert not np.array_equal(before, after)
    assert np.corrcoef(before, after)[0, 1] > NEAR[scheme]


def test_only_linear_layers_are_quantized_and_the_rest_is_bit_identical(
    quantized: tuple[str, Checkpoint], parent: Path
) -> None:
    scheme, checkpoint = quantized
    before, after = load_file(parent / "model.safetensors"), load_file(checkpoint.folder / "model.safetensors")
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert len(linear) == 14
    for name in before.keys() - linear:
        assert torch.equal(before[name].to(torch.bfloat16).view(torch.int16), after[name].view(torch.int16)), name
    assert not any("lm_head" in name for name in after), "the tied readout is stored once, as the embedding"
    assert {name for name in after if "embed" in name} == {"model.embed_tokens.weight"}
    suffix = "_packed" if scheme == "mxfp4" else ""
    for name in linear:
        stored = after[name + suffix]
        assert stored.dtype == STORED[scheme]
        bits = 4 if scheme == "mxfp4" else 8
        assert stored.numel() * stored.element_size() * 8 == before[name].numel() * bits


def test_folder_is_a_plain_checkpoint_with_provenance(quantized: tuple[str, Checkpoint], parent: Path) -> None:
    scheme, checkpoint = quantized
    config = json.loads((checkpoint.folder / "config.json").read_text())
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    assert config["dtype"] == "bfloat16"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (checkpoint.folder / name).read_bytes() == (parent / name).read_bytes()
    made = checkpoint.card.provenance.model_dump()["quantization"]
    assert made["scheme"] == scheme
    assert made["parent_fingerprint"] == hashlib.sha256((parent / "model.safetensors").read_bytes()).hexdigest()[:16]
    assert made["llmcompressor"]
    card = Checkpoint.open(parent).card
    assert checkpoint.card.model_copy(update={"provenance": card.provenance}) == card
    assert [path.name for path in checkpoint.folder.parent.iterdir()] == [scheme], "no temporary folder is left"


def test_int8_is_exact(int8: Path, parent: Path) -> None:
    """Weights and activations are rounded to the grid we compute ourselves, and the activations in every call."""
    weight = load_file(parent / "model.safetensors")[f"{LAYER}.weight"]
    stored = load_file(int8 / "model.safetensors")
    scale = weight.abs().amax(dim=1, keepdim=True) / 127.5
    grid = (weight / scale).clamp(-128, 127).round()
    assert torch.equal(stored[f"{LAYER}.weight"].float(), grid)
    assert torch.allclose(stored[f"{LAYER}.weight_scale"].float(), scale)

    layer = TransformersScorer(Checkpoint.open(int8)).network.backbone.get_submodule(LAYER.removeprefix("model."))
    inputs = torch.randn(3, 5, weight.shape[1], generator=torch.Generator().manual_seed(0))
    step = inputs.abs().amax(dim=-1, keepdim=True) / 127.5
    rounded = (inputs / step).clamp(-128, 127).round() * step
    with torch.inference_mode():
        outputs = layer(inputs)
    assert torch.allclose(outputs, rounded @ (grid * scale).T, atol=1e-5)
    assert not torch.allclose(outputs, inputs @ (grid * scale).T, atol=1e-5)


def test_the_process_and_its_folder_are_left_as_they_were(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before = dict(module.os.environ)
    quantize(parent, "fp8", "out")
    assert dict(module.os.environ) == before
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]
    said = capfd.readouterr()
    assert said.out == ""
    assert "INFO" not in said.err
    assert "WARNING" not in said.err


@pytest.mark.parametrize("scheme", ["int4", "", "W8A8"])
def test_unknown_scheme(scheme: str, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"choose one of int8, fp8, mxfp4"):
        quantize(parent, scheme, tmp_path / "out")


def test_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"gen_rerank\.json is missing"):
        quantize(tmp_path / "empty", "int8", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_refused_unless_overwritten(parent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        quantize(parent, "int8", out)
    assert (out / "precious.txt").read_text() == "mine"
    assert quantize(parent, "int8", out, overwrite=True).folder == out
    assert not (out / "precious.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_parent_is_never_overwritten(parent: Path) -> None:
    for out in (parent, parent / "int8", parent.parent):
        with pytest.raises(BadInput, match="cannot be, hold or lie in"):
            quantize(parent, "int8", out, overwrite=True)


def test_already_quantized(int8: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="already quantized"):
        quantize(int8, "fp8", tmp_path / "out")


def test_a_layer_that_the_scheme_cannot_group() -> None:
    model = torch.nn.ModuleDict({"odd": torch.nn.Linear(40, 8), "lm_head": torch.nn.Linear(7, 8)})
    with pytest.raises(BadInput, match="multiple of 32, but odd has 40"):
        module._quantized_layers(model, scheme_named("mxfp4"))
    assert module._quantized_layers(model, scheme_named("int8")) == {"odd"}


@pytest.mark.parametrize("step", ["_write_rest", "_check_untouched", "_check_scores"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failure_in_the_middle_leaves_nothing(
    step: str, failure: type[BaseException], parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "_write_weights", lambda _parent, _scheme, folder: (folder / "half").write_text("half"))
    monkeypatch.setattr(module, "_check_untouched", lambda *_: None)
    monkeypatch.setattr(module, step, fail)
    if step == "_check_scores":
        monkeypatch.setattr(
            module.Checkpoint, "open", classmethod(lambda _cls, _folder, real=Checkpoint.open: real(parent))
        )
    with pytest.raises(failure):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_overwrite_keeps_the_old_folder(tmp_path: Path) -> None:
    def write(out: Path, name: str, *, fail: bool) -> None:
        with module._appearing(out) as folder:
            (folder / name).touch()
            if fail:
                raise RuntimeError("boom")

    out = tmp_path / "out"
    write(out, "old", fail=False)
    with pytest.raises(RuntimeError, match="boom"):
        write(out, "new", fail=True)
    assert [path.name for path in out.iterdir()] == ["old"]
    write(out, "new", fail=False)
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_changed_tensor_is_found(int8: Path, parent: Path, tmp_path: Path) -> None:
    opened = Checkpoint.open(parent)
    for name, change in (("model.embed_tokens.weight", 1.01), ("model.norm.weight", None)):
        folder = tmp_path / name
        folder.mkdir()
        weights = load_file(int8 / "model.safetensors")
        if change is None:
            del weights[name]
        else:
            weights[name] *= change
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(RuntimeError, match=name):
            module._check_untouched(opened, folder)
    with pytest.raises(RuntimeError, match="nothing at all"):
        module._check_untouched(opened, parent)


def test_a_quantized_readout_is_found(int8: Path, parent: Path, tmp_path: Path) -> None:
    weights = load_file(int8 / "model.safetensors")
    weights["lm_head.weight_scale"] = torch.ones(1)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="quantized the readout"):
        module._check_untouched(Checkpoint.open(parent), tmp_path)


class Planted:
    """A scorer that answers with the given means, on two bins; NaN stands for logits that are not finite."""

    def __init__(self, means: list[float]) -> None:
        self.means = np.asarray(means)

    def score(self, _: object) -> Distribution:
        rows = np.zeros((len(self.means), 11))
        rows[:, 0], rows[:, 10] = 1 - self.means, self.means
        return Distribution(rows)


@pytest.mark.parametrize(
    ("means", "says"),
    [
        ([0.31, 0.31, 0.31, 0.31], "every pair the score 0.31"),
        ([0.5, 0.5, 0.5, 0.5], "every pair the score 0.5"),
        ([0.0, 1.0, 0.5, 1.0], "stuck at"),
        ([float("nan"), 0.2, 0.3, 0.4], "no finite scores"),
    ],
)
def test_collapsed_scores_are_refused(means: list[float], says: str) -> None:
    expected = Planted([0.1, 0.4, 0.6, 0.9]).score(None)
    with pytest.raises(RuntimeError, match=says):
        module._check_scores(scheme_named("fp8"), expected, Planted(means), [])


def test_scores_that_are_like_the_parents_pass() -> None:
    for before, after in (([0.1, 0.4], [0.15, 0.35]), ([0.5, 0.5], [0.5, 0.5]), ([0.0, 1.0], [0.0, 1.0])):
        module._check_scores(scheme_named("fp8"), Planted(before).score(None), Planted(after), [])


def test_a_broken_layer_is_refused_and_leaves_nothing(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real path: scales that are lost on the way make every score the same."""
    write = module._write_weights

    def write_broken(*args: object) -> None:
        write(*args)
        file = args[-1] / "model.safetensors"
        weights = load_file(file)
        for name in weights:
            if name.endswith(".weight_scale"):
                weights[name] = torch.full_like(weights[name], float("nan"))
        save_file(weights, file, metadata={"format": "pt"})

    monkeypatch.setattr(module, "_write_weights", write_broken)
    with pytest.raises(RuntimeError, match="no finite scores"):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_calibration_data_chooses_the_checked_pairs(tiny_shop: Dataset) -> None:
    chosen = module._check_pairs(tiny_shop)
    assert len(chosen) == 32
    assert len({pair.query for pair in chosen}) > 10
    assert len(module._check_pairs(None)) == 12


def test_int8_weights_are_a_quarter_of_float32_on_disk(int8: Path, parent: Path) -> None:
    def linear_bytes(folder: Path) -> int:
        tensors = load_file(folder / "model.safetensors")
        return sum(tensor.nbytes for name, tensor in tensors.items() if "_proj.weight" in name)

    assert linear_bytes(int8) < 0.3 * linear_bytes(parent)
