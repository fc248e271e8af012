"""Adapters: what fits its base is opened, what does not is refused with one sentence that says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from gen_rerank import BadInput
from gen_rerank.checkpoints.adapter import WEIGHTS, Adapter, AdapterCard
from gen_rerank.checkpoints.card import CARD, Calibration, Card, Readout, read_card
from gen_rerank.checkpoints.checkpoint import ADAPTER_CONFIG, Checkpoint
from gen_rerank.cli import mounted
from gen_rerank.scorers.vllm import lora_arguments


@pytest.fixture
def folder(tiny_adapter: Path, tmp_path: Path) -> Path:
    """A copy of the tiny adapter, to be broken."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


@pytest.fixture(scope="module")
def base(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder: Path, base: Checkpoint) -> str:
    with pytest.raises(BadInput) as caught:
        Adapter.open(folder, base)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_opens(tiny_adapter, base):
    adapter = Adapter.open(tiny_adapter, base)
    assert adapter.rank == 4
    assert adapter.card.kind == "adapter"
    assert adapter.card.base.fingerprint == base.fingerprint
    assert len(adapter.fingerprint) == 16
    assert read_card(tiny_adapter, AdapterCard) == adapter.card


def test_applied_has_the_adapters_calibration_and_the_rest_of_the_base(tiny_adapter, base):
    applied = Adapter.open(tiny_adapter, base).applied(base)
    assert applied.card.calibration == Calibration(temperature=1.7)
    assert applied.card.model_copy(update={"calibration": base.card.calibration}) == base.card
    assert applied.folder == base.folder
    assert base.card.calibration == Calibration()


def test_the_base_may_be_calibrated_again_but_not_trained_again(folder, tiny_checkpoint, tmp_path):
    model = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    change(model / CARD, calibration={"temperature": 3.0})
    Adapter.open(folder, Checkpoint.open(model))
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 2
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    other = Checkpoint.open(model)
    message = refused(folder, other)
    assert str(tiny_checkpoint) in message
    assert str(model) in message
    assert other.fingerprint in message
    assert Checkpoint.open(tiny_checkpoint).fingerprint in message


def test_a_model_is_not_an_adapter(tiny_checkpoint, base):
    assert "this is a model, not an adapter; pass it as the model" in refused(tiny_checkpoint, base)


def test_an_adapter_is_not_a_model(tiny_adapter, tiny_checkpoint):
    with pytest.raises(BadInput, match=rf"an adapter of {tiny_checkpoint}; pass the base as the model .* as --adapter"):
        Checkpoint.open(tiny_adapter)


@pytest.mark.parametrize("name", [ADAPTER_CONFIG, WEIGHTS, CARD])
def test_a_missing_file(folder, base, name):
    (folder / name).unlink()
    assert f"not an adapter, {name} is missing" in refused(folder, base)


@pytest.mark.parametrize("name", [ADAPTER_CONFIG, WEIGHTS, CARD])
@pytest.mark.parametrize("content", [b"{not json", b"", b"[1, 2]", b"\xff\xfe", b"null"])
def test_a_broken_file(folder, base, name, content):
    (folder / name).write_bytes(content)
    assert name in refused(folder, base)


@pytest.mark.parametrize("changes", [{"peft_type": "IA3"}, {"peft_type": None}, {"r": None}])
def test_only_lora(folder, base, changes):
    change(folder / ADAPTER_CONFIG, **changes)
    assert "only LoRA adapters can be used" in refused(folder, base)


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.token_adapter.trainable_tokens_delta",
        "model.embed_tokens.lora_embedding_A",
        "model.norm.weight",
        "lm_head.lora_A.weight",
        "model.layers.0.mlp.up_proj.lora_magnitude_vector",
    ],
)
def test_other_trained_parts_are_refused(folder, base, name):
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {f"base_model.model.{name}": np.zeros((2, 2), np.float32)}, folder / WEIGHTS)
    assert f"it changes {name!r}, but an adapter is LoRA on the linear layers" in refused(folder, base)


def test_an_adapter_without_matrices_is_refused(folder, base):
    save_file({}, folder / WEIGHTS)
    assert "it holds no matrices" in refused(folder, base)


def test_an_encoder_takes_no_adapter(folder, tiny_checkpoint, tmp_path):
    model = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    Card(readout=Readout.classifier(), prompt=Checkpoint.open(model).card.prompt).save(model)
    change(model / "config.json", id2label={str(k): str(k) for k in range(11)})
    assert "is an encoder with a classifier" in refused(folder, Checkpoint.open(model))


def test_the_fingerprint_changes_with_matrices_and_scale(folder, base):
    before = Adapter.open(folder, base).fingerprint
    change(folder / CARD, calibration={"temperature": 9.0})
    assert Adapter.open(folder, base).fingerprint == before
    change(folder / ADAPTER_CONFIG, lora_alpha=99)
    assert Adapter.open(folder, base).fingerprint != before


@pytest.mark.parametrize(("rank", "served"), [(1, 1), (2, 8), (8, 8), (33, 64), (257, 320), (512, 512)])
def test_vllm_gets_the_smallest_rank_it_can_serve(folder, base, rank, served):
    change(folder / ADAPTER_CONFIG, r=1, rank_pattern={"q_proj": rank})
    assert lora_arguments(Adapter.open(folder, base).rank, places=3) == {
        "enable_lora": True,
        "max_loras": 3,
        "max_cpu_loras": 3,
        "max_lora_rank": served,
    }


def test_too_large_a_rank_is_refused(folder, base):
    change(folder / ADAPTER_CONFIG, r=513)
    with pytest.raises(BadInput, match="rank 513 cannot be served; vLLM takes ranks up to 512"):
        lora_arguments(Adapter.open(folder, base).rank)


def test_a_second_adapter_has_its_own_base(write_adapter: Callable[[Path, Path], Path], tiny_checkpoint, tmp_path):
    model = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    change(model / "config.json", rms_norm_eps=1e-5)
    second = write_adapter(model, tmp_path / "second")
    assert Adapter.open(second, Checkpoint.open(model)).rank == 4
    assert "this adapter belongs to" in refused(second, Checkpoint.open(tiny_checkpoint))


def test_the_commands_take_an_adapter(tiny_checkpoint, tiny_adapter, tiny_data, tmp_path):
    def call(*words: object) -> str:
        done = CliRunner().invoke(mounted(), [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    shared = (tiny_checkpoint, tiny_data, "--out")
    call("score", *shared, tmp_path / "base.jsonl")
    call("score", *shared, tmp_path / "adapted.jsonl", "--adapter", tiny_adapter)
    assert (tmp_path / "base.jsonl").read_text() != (tmp_path / "adapted.jsonl").read_text()
    assert tiny_adapter.name in call("evaluate", *shared, tmp_path / "e.json", "--adapter", tiny_adapter)
    assert json.loads((tmp_path / "e.json").read_text())["name"] == f"{tiny_checkpoint.name} + {tiny_adapter.name}"
    with pytest.raises(BadInput, match="this is a model, not an adapter"):
        call("score", *shared, tmp_path / "s.jsonl", "--adapter", tiny_checkpoint)
