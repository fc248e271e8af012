"""Quantization for real, with llm-compressor, on a tiny checkpoint: what is written, refused, and left behind."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gen_rerank import BadInput, Dataset, Pair
from gen_rerank.checkpoints.card import CARD, ExampleDraw, Quantization
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import SCHEMES, scheme_named
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.publishing import folder_appearing
from quant import quantize as module
from quant.example_pairs import draw_pairs
from quant.quantize import check_parent, full_disk_in_words, quantize, require_free
from train.life import result_appearing

# The least correlation with the parent's scores, on random weights, which are harder to quantize than trained ones.
NEAR = {
    "int8": 0.98, "int8-smoothquant": 0.98, "w4a16-gptq": 0.5, "fp8": 0.85, "fp8-block": 0.85, "nvfp4": 0.4,
    "mxfp4": 0.4, "mxfp4a16": 0.4,
}  # fmt: skip
STORED = {
    "int8": torch.int8, "int8-smoothquant": torch.int8, "w4a16-gptq": torch.int32, "fp8": torch.float8_e4m3fn,
    "fp8-block": torch.float8_e4m3fn, "nvfp4": torch.uint8, "mxfp4": torch.uint8, "mxfp4a16": torch.uint8,
}  # fmt: skip
PACKED = ("w4a16-gptq", "nvfp4", "mxfp4", "mxfp4a16")
PAIRS = 32


@pytest.fixture(scope="module", params=[scheme.name for scheme in SCHEMES])
def quantized(
    request: pytest.FixtureRequest, parent: Path, tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Checkpoint]:
    out = tmp_path_factory.mktemp("out") / "deep" / request.param
    return request.param, quantize(parent, request.param, out, tiny_shop, example_pairs=PAIRS)


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
    if scheme_named(scheme).needs_examples:
        tokens = sum(map(len, opened.prompt.encode(draw_pairs(tiny_shop, PAIRS))))
        drawn = ExampleDraw(fingerprint=tiny_shop.fingerprint, pairs=PAIRS, tokens=tokens, seed=0)
    assert made.llmcompressor
    rounding = "GPTQModifier" if scheme_named(scheme).rounding == "gptq" else "QuantizationModifier"
    assert made.recipe[-1]["modifier"] == rounding
    assert made == Quantization(
        scheme=scheme,
        preset=scheme_named(scheme).preset,
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


@pytest.mark.parametrize("scheme", [scheme.name for scheme in SCHEMES if scheme.needs_examples])
def test_a_scheme_that_needs_examples_says_so(scheme: str, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"{scheme} sets its scales on example pairs; name a data set with --examples"):
        quantize(parent, scheme, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_example_data_may_be_a_folder(parent: Path, tiny_data: Path, tmp_path: Path) -> None:
    made = quantize(parent, "nvfp4", tmp_path / "out", tiny_data, example_pairs=PAIRS, seed=5).card.provenance
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


def test_already_quantized(wide_int8: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="already quantized"):
        quantize(wide_int8, "fp8", tmp_path / "out")


def test_smoothing_knows_qwen3_only(parent: Path) -> None:
    opened = Checkpoint.open(parent)
    other = dataclasses.replace(opened, config=opened.config | {"model_type": "gemma3"})
    with pytest.raises(BadInput, match="Qwen3 decoders only, and this is a gemma3; choose int8"):
        check_parent(other, scheme_named("int8-smoothquant"))
    check_parent(other, scheme_named("int8"))


@pytest.mark.parametrize("step", ["_write_rest", "check_weights", "check_scores"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failure_in_the_middle_leaves_nothing(
    step: str, failure: type[BaseException], parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(module, "write_weights", lambda *given: (given[3] / "half").write_text("half"))
    monkeypatch.setattr(module, "say", lambda *_: None)
    for other in ("_write_rest", "check_weights"):
        monkeypatch.setattr(module, other, lambda *_: None)
    monkeypatch.setattr(module, step, fail)
    if step == "check_scores":
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

    monkeypatch.setattr(module, "write_weights", fail)
    with pytest.raises(BadInput, match="out: the disk is full"):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_under_a_realignment_is_not_told_to_resume(number: int, tmp_path: Path) -> None:
    """`train scalar` has --resume, and says so; `quantize`, which runs it, has not."""
    out, inner = tmp_path / "out", tmp_path / ".out.partial" / "out"
    said = f"^{out}: the disk is full; free some space"
    with pytest.raises(BadInput, match=said), full_disk_in_words(out), result_appearing(inner):
        raise OSError(number, "No space left on device")


def test_another_error_stays_itself(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "no"), BadInput("no such scheme")):
        with pytest.raises(type(error), match="no"), full_disk_in_words(tmp_path):
            raise error


@pytest.mark.parametrize(
    ("overwrite", "theirs", "says"),
    [(False, CARD, "exists and is not empty"), (True, "precious.txt", "only a checkpoint is overwritten")],
)
def test_what_appears_meanwhile_stays(overwrite: bool, theirs: str, says: str, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run() -> None:
        with folder_appearing(out, partial(require_free, overwrite=overwrite)):
            out.mkdir()
            (out / theirs).write_text("theirs")

    with pytest.raises(BadInput, match=says):
        run()
    assert (out / theirs).read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [out]


def test_a_broken_layer_is_refused_and_leaves_nothing(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real path: scales that are lost on the way make every score the same."""
    write = module.write_weights

    def write_broken(*args):
        recipe = write(*args)
        file = args[3] / "model.safetensors"
        weights = load_file(file)
        for name in weights:
            if name.endswith(".weight_scale"):
                weights[name] = torch.full_like(weights[name], float("nan"))
        save_file(weights, file, metadata={"format": "pt"})
        return recipe

    monkeypatch.setattr(module, "write_weights", write_broken)
    with pytest.raises(BadInput, match="no finite scores"):
        quantize(parent, "int8", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
