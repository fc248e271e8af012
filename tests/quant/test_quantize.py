"""Quantization for real, with llm-compressor, on the tiny checkpoint: what is written, what is refused, what is left behind."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar, enable_progress_bar

from gen_rerank import BadInput, Dataset, Distribution, Pair
from gen_rerank.checkpoints.card import CARD, CalibrationData, Card, Provenance, Quantization, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.scorers.transformers import TransformersScorer
from quant import quantize as module
from quant.example_pairs import calibration_pairs
from quant.quantize import quantize
from quant.schemes import SCHEMES, scheme_named
from train.encoder_bases import EncoderShape, new_encoder
from train.life import publishing

# The least correlation with the parent's scores, on random weights, which are harder to quantize than trained ones.
NEAR = {
    "int8": 0.98, "int8-smoothquant": 0.98, "w4a16-gptq": 0.5, "fp8": 0.85, "fp8-block": 0.85, "nvfp4": 0.4, "mxfp4": 0.4,
    "mxfp4a16": 0.4,
}  # fmt: skip
STORED = {
    "int8": torch.int8, "int8-smoothquant": torch.int8, "w4a16-gptq": torch.int32, "fp8": torch.float8_e4m3fn,
    "fp8-block": torch.float8_e4m3fn, "nvfp4": torch.uint8, "mxfp4": torch.uint8, "mxfp4a16": torch.uint8,
}  # fmt: skip
PACKED = ("w4a16-gptq", "nvfp4", "mxfp4", "mxfp4a16")
LAYER = "model.layers.1.mlp.up_proj"
PAIRS = 32


@pytest.fixture(scope="module")
def parent(tiny_checkpoint: Path, tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of two layers, 128 wide (fp8-block takes no less), whose bin rows (never an input) read what differs most
    between pairs, so that scores spread."""
    folder = tmp_path_factory.mktemp("parent") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    config = AutoConfig.from_pretrained(folder)
    config.update({"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.weight"):
            torch.nn.init.normal_(parameter, 0.0, 0.05)
    model.save_pretrained(folder)
    checkpoint = Checkpoint.open(folder)
    scorer = TransformersScorer(checkpoint)
    scorer.network.rows = torch.eye(128)
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
    trained = Provenance(base="nano", metrics={"validation_rps": 0.05})
    checkpoint.card.model_copy(update={"provenance": trained}).save(folder)
    return folder


@pytest.fixture(scope="module", params=[scheme.name for scheme in SCHEMES])
def quantized(
    request: pytest.FixtureRequest, parent: Path, tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Checkpoint]:
    out = tmp_path_factory.mktemp("out") / "deep" / request.param
    return request.param, quantize(parent, request.param, out, tiny_shop, calibration_pairs=PAIRS)


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
    smoothed = {name for name in before if name.endswith("layernorm.weight")} if scheme == "int8-smoothquant" else set()
    for name in before.keys() - linear:
        same = torch.equal(before[name].to(torch.bfloat16), after[name])
        assert same != (name in smoothed), name
        assert after[name].dtype == torch.bfloat16
    assert not any("lm_head" in name for name in after), "the tied readout is stored once, as the embedding"
    assert {name for name in after if "embed" in name} == {"model.embed_tokens.weight"}
    for name in linear:
        stored = after[name + "_packed" * (scheme in PACKED)]
        assert stored.dtype == STORED[scheme]
        bits = 4 if scheme in PACKED else 8
        assert stored.numel() * stored.element_size() * 8 == before[name].numel() * bits


def test_folder_is_a_plain_checkpoint_with_provenance(
    quantized: tuple[str, Checkpoint], parent: Path, tiny_shop: Dataset
) -> None:
    scheme, checkpoint = quantized
    config = json.loads((checkpoint.folder / "config.json").read_text())
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    assert config["dtype"] == "bfloat16"
    assert config["tie_word_embeddings"] is True
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (checkpoint.folder / name).read_bytes() == (parent / name).read_bytes()
    opened, provenance = Checkpoint.open(parent), checkpoint.card.provenance
    made, drawn = provenance.quantization, None
    assert made is not None
    if scheme_named(scheme).needs_calibration:
        tokens = sum(map(len, opened.prompt.encode(calibration_pairs(tiny_shop, PAIRS))))
        drawn = CalibrationData(fingerprint=tiny_shop.fingerprint, pairs=PAIRS, tokens=tokens, seed=0)
    assert made.llmcompressor
    assert made.recipe[-1]["modifier"] == scheme_named(scheme).method
    assert made == Quantization(
        scheme=scheme,
        preset=scheme_named(scheme).info.preset,
        recipe=made.recipe,
        llmcompressor=made.llmcompressor,
        calibration=drawn,
        parent=str(parent),
        parent_fingerprint=opened.fingerprint,
    )
    assert opened.card.provenance.metrics
    assert provenance == opened.card.provenance.model_copy(update={"quantization": made, "metrics": None}), (
        "the parent's figures were not measured on this model"
    )
    assert checkpoint.card.model_copy(update={"provenance": opened.card.provenance}) == opened.card
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
        tiny_checkpoint, "w4a16-gptq", tmp_path / "out", tiny_shop, calibration_pairs=PAIRS,
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
    assert "calibrated on 32 pairs (" in said.getvalue()
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
    before, logged = dict(module.os.environ), module.logging.root.manager.disable
    disable_progress_bar()  # as the command does
    quantize(parent, "w4a16-gptq", "out", tiny_shop, calibration_pairs=PAIRS)
    enable_progress_bar()
    assert dict(module.os.environ) == before
    assert module.logging.root.manager.disable == logged
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]
    said = capfd.readouterr()
    assert said.out == ""
    for noise in ("INFO", "WARNING", "Calibrating", "Propagating", "METRIC", "it/s"):
        assert noise not in said.err


@pytest.mark.parametrize("scheme", [scheme.name for scheme in SCHEMES if scheme.needs_calibration])
def test_a_scheme_that_needs_examples_says_so(scheme: str, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=f"{scheme} sets its scales on example pairs; name a data set with --calibration"
    ):
        quantize(parent, scheme, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_calibration_data_may_be_a_folder(parent: Path, tiny_data: Path, tmp_path: Path) -> None:
    made = quantize(parent, "nvfp4", tmp_path / "out", tiny_data, calibration_pairs=PAIRS, seed=5).card.provenance
    assert made.quantization is not None
    assert made.quantization.calibration is not None
    assert made.quantization.calibration.seed == 5
    with pytest.raises(BadInput, match="no such folder; a data set is"):
        quantize(parent, "nvfp4", tmp_path / "other", tmp_path / "nowhere")


@pytest.mark.parametrize("scheme", ["int4", "", "W8A8"])
def test_unknown_scheme(scheme: str, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"choose one of int8, int8-smoothquant, w4a16-gptq, fp8"):
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
    with pytest.raises(BadInput, match="only a checkpoint is overwritten"):
        quantize(parent, "int8", out, overwrite=True)
    assert (out / "precious.txt").read_text() == "mine"
    shutil.copytree(parent, out, dirs_exist_ok=True)
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
    model = torch.nn.ModuleDict({"odd": torch.nn.Linear(40, 256), "lm_head": torch.nn.Linear(7, 8)})
    layers, left = module._linear_layers(model)
    assert (list(layers), left) == (["odd"], ["lm_head"])
    with pytest.raises(BadInput, match="mxfp4 needs layers whose input size is a multiple of 32, but odd has 40"):
        module._group(scheme_named("mxfp4"), layers)
    assert module._group(scheme_named("int8"), layers) == 1


@pytest.mark.parametrize(("inputs", "group"), [((128, 256), 128), ((128, 192), 64), ((192, 96), 32)])
def test_the_first_group_that_divides_all_inputs(inputs: tuple[int, ...], group: int) -> None:
    layers = {str(size): torch.nn.Linear(size, 64) for size in inputs}
    assert module._group(scheme_named("w4a16-gptq"), layers) == group


def test_an_output_that_blocks_cannot_cover() -> None:
    """vLLM joins queries, keys and values, and a block may not straddle two of them."""
    with pytest.raises(BadInput, match="whose output size is a multiple of 128, but k_proj has 64"):
        module._group(scheme_named("fp8-block"), {"k_proj": torch.nn.Linear(128, 64)})


@pytest.mark.parametrize("step", ["_write_rest", "_check_untouched", "_check_scores"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failure_in_the_middle_leaves_nothing(
    step: str, failure: type[BaseException], parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "_write_weights", lambda *given: (given[3] / "half").write_text("half"))
    monkeypatch.setattr(module, "_say", lambda *_: None)
    for other in ("_write_rest", "_check_untouched"):
        monkeypatch.setattr(module, other, lambda *_: None)
    monkeypatch.setattr(module, step, fail)
    if step == "_check_scores":
        monkeypatch.setattr(
            module.Checkpoint, "open", classmethod(lambda _cls, _folder, real=Checkpoint.open: real(parent))
        )
    with pytest.raises(failure):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # What safetensors 0.8.0 makes of a full file system.
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_in_words(
    failure: Exception, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "_write_weights", fail)
    with pytest.raises(BadInput, match="out: the disk is full"):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_under_a_realignment_is_not_told_to_resume(number: int, tmp_path: Path) -> None:
    """`train scalar` has --resume, and says so; `quantize`, which runs it, has not."""
    out, inner = tmp_path / "out", tmp_path / ".out.partial" / "out"
    with pytest.raises(BadInput, match=f"^{out}: the disk is full; free some space"), module._full_disk_in_words(out):  # noqa: SIM117
        with publishing(inner):
            raise OSError(number, "No space left on device")


def test_another_error_stays_itself(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "no"), BadInput("no such scheme")):
        with pytest.raises(type(error), match="no"), module._full_disk_in_words(tmp_path):
            raise error


def test_a_failing_overwrite_keeps_the_old_folder(tmp_path: Path) -> None:
    def write(text: str, *, fail: bool) -> None:
        with module._appearing(out, overwrite=True) as folder:
            folder.mkdir()
            (folder / CARD).write_text(text)
            if fail:
                raise RuntimeError("boom")

    out = tmp_path / "out"
    write("old", fail=False)
    with pytest.raises(RuntimeError, match="boom"):
        write("new", fail=True)
    assert (out / CARD).read_text() == "old"
    write("new", fail=False)
    assert (out / CARD).read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("overwrite", "theirs", "says"),
    [(False, CARD, "exists and is not empty"), (True, "precious.txt", "only a checkpoint is overwritten")],
)
def test_what_appears_meanwhile_stays(overwrite: bool, theirs: str, says: str, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run() -> None:
        with module._appearing(out, overwrite) as folder:
            folder.mkdir()
            out.mkdir()
            (out / theirs).write_text("theirs")

    with pytest.raises(BadInput, match=says):
        run()
    assert (out / theirs).read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [out]


def test_two_runs_to_one_folder_do_not_touch_each_other(tmp_path: Path) -> None:
    with module._appearing(tmp_path / "out", overwrite=False) as first:
        first.mkdir()
        (first / CARD).write_text("first")
        with pytest.raises(BadInput, match="another run is writing it"), module._appearing(tmp_path / "out", True):
            pass
        with module._appearing(tmp_path / "other", overwrite=False) as second:
            second.mkdir()
    assert (tmp_path / "out" / CARD).read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    """A process that was killed in the middle wrote this much, and its lock went with it."""
    child = os.fork()
    if child == 0:
        try:
            with module._appearing(tmp_path / "out", overwrite=False) as folder:
                folder.mkdir()
                (folder / "model.safetensors").write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:  # no second pytest, whatever happens
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1, "something was left"
    with module._appearing(tmp_path / "out", overwrite=False) as folder:
        assert not folder.exists()
        folder.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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
        shutil.copyfile(int8 / "config.json", folder / "config.json")
        with pytest.raises(BadInput, match=name):
            module._check_untouched(opened, scheme_named("int8"), folder)
    with pytest.raises(BadInput, match="nothing at all"):
        module._check_untouched(opened, scheme_named("int8"), parent)


def test_a_quantized_readout_is_found(int8: Path, parent: Path, tmp_path: Path) -> None:
    weights = load_file(int8 / "model.safetensors")
    weights["lm_head.weight_scale"] = torch.ones(1)
    save_file(weights, tmp_path / "model.safetensors")
    shutil.copyfile(int8 / "config.json", tmp_path / "config.json")
    with pytest.raises(BadInput, match="quantized the readout"):
        module._check_untouched(Checkpoint.open(parent), scheme_named("int8"), tmp_path)


def test_a_split_readout_is_found(int8: Path, parent: Path, tmp_path: Path) -> None:
    """A second copy of the tied matrix, and a config that no longer ties: two engines would read two readouts."""
    weights, config = load_file(int8 / "model.safetensors"), json.loads((int8 / "config.json").read_text())
    head = {"lm_head.weight": weights["model.embed_tokens.weight"] * 2}
    for name, stored, tied in (("copy", weights | head, True), ("untied", weights, False)):
        folder = tmp_path / name
        folder.mkdir()
        save_file(stored, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
        with pytest.raises(BadInput, match="split the matrix that embeddings and readout share"):
            module._check_untouched(Checkpoint.open(parent), scheme_named("int8"), folder)


def test_smoothing_that_is_not_made_up_for_is_found(parent: Path, tiny_shop: Dataset, tmp_path: Path) -> None:
    """The norms are the parent's again, the layers are not: the product is another."""
    smooth = scheme_named("int8-smoothquant")
    folder = quantize(parent, smooth.name, tmp_path / "out", tiny_shop, calibration_pairs=PAIRS).folder
    module._check_untouched(Checkpoint.open(parent), smooth, folder)
    weights, before = load_file(folder / "model.safetensors"), load_file(parent / "model.safetensors")
    name = "model.layers.0.input_layernorm.weight"
    assert not torch.equal(weights[name], before[name].to(torch.bfloat16))
    save_file(weights | {name: before[name].to(torch.bfloat16)}, folder / "model.safetensors")
    with pytest.raises(BadInput, match=r"changed the product of model\.layers\.0\.input_layernorm"):
        module._check_untouched(Checkpoint.open(parent), smooth, folder)


def test_smoothing_knows_qwen3_only(parent: Path) -> None:
    opened = Checkpoint.open(parent)
    other = dataclasses.replace(opened, config=opened.config | {"model_type": "gemma3"})
    with pytest.raises(BadInput, match="Qwen3 decoders only, and this is a gemma3; choose int8"):
        module._check_parent(other, scheme_named("int8-smoothquant"))
    module._check_parent(other, scheme_named("int8"))


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
    with pytest.raises(BadInput, match=says):
        module._check_scores(scheme_named("fp8"), expected, Planted(means), [])


def test_scores_that_are_like_the_parents_pass() -> None:
    for before, after in (([0.1, 0.4], [0.15, 0.35]), ([0.5, 0.5], [0.5, 0.5]), ([0.0, 1.0], [0.0, 1.0])):
        module._check_scores(scheme_named("fp8"), Planted(before).score(None), Planted(after), [])


def test_a_broken_layer_is_refused_and_leaves_nothing(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real path: scales that are lost on the way make every score the same."""
    write = module._write_weights

    def write_broken(*args):
        recipe = write(*args)
        file = args[3] / "model.safetensors"
        weights = load_file(file)
        for name in weights:
            if name.endswith(".weight_scale"):
                weights[name] = torch.full_like(weights[name], float("nan"))
        save_file(weights, file, metadata={"format": "pt"})
        return recipe

    monkeypatch.setattr(module, "_write_weights", write_broken)
    with pytest.raises(BadInput, match="no finite scores"):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_calibration_data_chooses_the_checked_pairs(tiny_shop: Dataset) -> None:
    assert module._check_pairs(tiny_shop, 3) == calibration_pairs(tiny_shop, 32, seed=3)
    assert len(module._check_pairs(None, 0)) == 12


def test_int8_weights_are_a_quarter_of_float32_on_disk(int8: Path, parent: Path) -> None:
    def linear_bytes(folder: Path) -> int:
        tensors = load_file(folder / "model.safetensors")
        return sum(tensor.nbytes for name, tensor in tensors.items() if "_proj.weight" in name)

    assert linear_bytes(int8) < 0.3 * linear_bytes(parent)


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
