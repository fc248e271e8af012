"""Opening a checkpoint: what is wrong is refused, each with one sentence that says what."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gen_rerank import BIN_TOKENS, BadInput
from gen_rerank.checkpoints.card import (
    CARD,
    Calibration,
    CalibrationSource,
    Card,
    PromiseRecord,
    Provenance,
    Quantization,
    Readout,
    Realignment,
    ScoreMap,
    read_card,
)
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer, single_token_id
from gen_rerank.prompting.prompt import PromptSpec, template_sha256


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be broken."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))


def change(file: Path, **changes: Any) -> None:
    """Replace values of a JSON file; a dotted name goes one level down."""
    content = json.loads(file.read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        target = content
        for key in outer:
            target = target[key]
        target[last] = value
    file.write_text(json.dumps(content))


def refused(folder: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        Checkpoint.open(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_opens(tiny_checkpoint):
    checkpoint = Checkpoint.open(tiny_checkpoint)
    assert checkpoint.card.readout.tokens == BIN_TOKENS
    assert checkpoint.card.readout.values == tuple(k / 10 for k in range(11))
    assert checkpoint.card.calibration.temperature == 1.0
    assert checkpoint.prompt.spec.sha256 == template_sha256("product_first")
    assert checkpoint.config["model_type"] == "qwen3"
    assert Checkpoint.open(str(tiny_checkpoint)).card == checkpoint.card


def test_no_such_folder(tmp_path):
    assert "no such folder" in refused(tmp_path / "nowhere")


def test_no_such_hub_name():
    assert "the hub gives no model of this name" in refused("nobody-at-all/no-such-model")


def test_a_file_is_not_a_folder(folder):
    assert "no such folder" in refused(folder / "config.json")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (CARD, "not a gen_rerank checkpoint, gen_rerank.json is missing"),
        ("config.json", "not a checkpoint, config.json is missing"),
        ("tokenizer.json", "not a checkpoint, tokenizer.json is missing"),
        ("model.safetensors", r"it has no *.safetensors weights"),
    ],
)
def test_a_missing_file(folder, name, reason):
    (folder / name).unlink()
    assert reason in refused(folder)


@pytest.mark.parametrize("name", [CARD, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"{not json", b"", b"[1, 2]", b"\xff\xfe", b"null"])
def test_a_broken_file(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refused(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"readout__kind": "regression"}, "readout.kind"),
        ({"calibration": {"temperature": 0}}, "calibration.temperature"),
        ({"calibration": {"temperature": -1.5}}, "calibration.temperature"),
        ({"provenance": {"quantization": "int8"}}, "provenance.quantization: Input should be an object"),
        ({"provenance": {"quantization": {"calibration": 512}}}, "provenance.quantization.calibration"),
        ({"prompt": {"max_length": 0}}, "prompt.max_length"),
        ({"prompt": {"budgets": {"colour": 5}}}, "prompt.budgets.colour"),
        ({"prompt": {"template": "no_such"}}, "no prompt template 'no_such'"),
        ({"prompt": {"max_length": 4}}, "no room for text"),
        ({"readout__values": [0.0, 0.1]}, "differ in number"),
        ({"readout__kind": "yes_no"}, "a yes_no readout has two tokens, worth 0 and 1"),
        ({"readout__kind": "classifier"}, "a classifier reads its labels"),
        ({"readout": {"kind": "classifier", "tokens": [], "token_ids": []}}, "the model has 2 labels, the card gives"),
        ({"readout__values": [0.05, *(k / 10 for k in range(1, 11))]}, "0.05"),
        ({"readout__values": [0.1, *(k / 10 for k in range(1, 11))]}, "same value"),
    ],
)
def test_a_wrong_card(folder, changes, reason):
    change(folder / CARD, **changes)
    assert reason in refused(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocab_size", "many"),
        ("num_attention_heads", "four"),
        ("num_key_value_heads", [1]),
        ("head_dim", "x"),
        ("num_hidden_layers", -1),
        ("max_position_embeddings", []),
        ("architectures", [1]),
        ("id2label", 11),
        ("num_labels", "x"),
        ("quantization_config", "int8"),
    ],
)
def test_a_configuration_with_values_of_another_kind(folder, name, value):
    change(folder / "config.json", **{name: value})
    assert f"config.json: {name}" in refused(folder)


@pytest.mark.parametrize("name", ["head_dim", "id2label", "num_labels", "max_position_embeddings", "architectures"])
def test_a_configuration_may_leave_values_out_by_saying_null(folder, name):
    change(folder / "config.json", **{name: None})
    assert Checkpoint.open(folder).config[name] is None


def test_a_changed_template(folder):
    change(folder / CARD, prompt={"template": "product_first", "sha256": "f" * 64})
    message = refused(folder)
    assert "another version of the prompt template 'product_first'" in message
    assert "ffffffffffff" in message
    assert template_sha256("product_first")[:12] in message


def test_bins_of_several_tokens(folder):
    change(folder / CARD, readout__tokens=[*BIN_TOKENS[:10], "<|rel_ten|>"])
    assert "'<|rel_ten|>' is not a single token of the tokenizer" in refused(folder)


def test_the_ids_of_another_tokenizer(folder):
    ids = json.loads((folder / CARD).read_text())["readout"]["token_ids"]
    change(folder / CARD, readout__token_ids=[number + 1 for number in ids])
    message = refused(folder)
    assert "the tokenizer is another one" in message
    assert str(ids) in message


def test_a_readout_outside_the_vocabulary(folder):
    change(folder / "config.json", vocab_size=100)
    assert "outside the model's vocabulary of 100" in refused(folder)


@pytest.mark.parametrize(("stored", "quantized"), [(None, False), ({"quant_method": "compressed-tensors"}, True)])
def test_a_configuration_says_whether_the_weights_are_quantized(folder, stored, quantized):
    assert not Checkpoint.open(folder).is_quantized
    change(folder / "config.json", quantization_config=stored)
    assert Checkpoint.open(folder).is_quantized is quantized


def test_other_records_of_a_quantization_are_kept(folder, tmp_path):
    change(folder / CARD, provenance={"quantization": {"scheme": "int8", "bits": 8}})
    Checkpoint.open(folder).card.save(tmp_path)
    assert json.loads((tmp_path / CARD).read_text())["provenance"]["quantization"]["bits"] == 8


def test_a_card_round_trip(tiny_checkpoint, tmp_path):
    card = Card(
        readout=Readout.of(read_tokenizer(tiny_checkpoint)),
        prompt=PromptSpec(max_length=99, budgets={"title": 3}),
        calibration=Calibration(temperature=1.5, thresholds={"exact": 0.8}),
        provenance=Provenance(
            quantization=Quantization(
                scheme="int8", recipe=({"modifier": "GPTQModifier"},), realigned=Realignment(data="d")
            )
        ),
    )
    card.save(tmp_path)
    assert Card.model_validate_json((tmp_path / CARD).read_text()) == card


def test_a_readout_needs_the_bin_tokens(tiny_checkpoint):
    tokenizer = read_tokenizer(tiny_checkpoint)
    assert len(set(Readout.of(tokenizer).token_ids)) == 11
    with pytest.raises(BadInput, match=r"'<\|rel_11\|>' is not a single token of the tokenizer \(it makes \d+\)"):
        single_token_id(tokenizer, "<|rel_11|>")


def test_a_classifier_has_as_many_labels_as_values(folder):
    change(folder / CARD, readout=json.loads(Readout.classifier().model_dump_json()))
    change(folder / "config.json", id2label={str(k): f"LABEL_{k}" for k in range(11)})
    readout = Checkpoint.open(folder).card.readout
    assert (readout.kind, readout.tokens, readout.token_ids) == ("classifier", (), ())
    assert readout.values == tuple(k / 10 for k in range(11))
    change(folder / "config.json", id2label={"0": "LABEL_0"})
    assert "the model has 1 labels, the card gives values to 11" in refused(folder)


def test_an_adapter_is_not_a_model(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "runs/model"}))
    assert "this is an adapter of runs/model; pass the base as the model and this folder as --adapter" in refused(
        folder
    )


def test_the_fingerprint_is_of_what_an_adapter_depends_on(folder):
    before = Checkpoint.open(folder).fingerprint
    assert len(before) == 16
    change(folder / CARD, calibration={"temperature": 2.0}, provenance={"data": "other"})
    assert Checkpoint.open(folder).fingerprint == before
    seen = {before}
    change(folder / CARD, prompt__template="query_first", prompt__sha256="")
    seen.add(Checkpoint.open(folder).fingerprint)
    change(folder / CARD, readout__values=[k / 10 for k in range(10, -1, -1)])
    seen.add(Checkpoint.open(folder).fingerprint)
    change(folder / "config.json", rms_norm_eps=0.5)
    seen.add(Checkpoint.open(folder).fingerprint)
    change(
        folder / "tokenizer.json",
        truncation={"max_length": 9, "stride": 0, "strategy": "LongestFirst", "direction": "Right"},
    )
    seen.add(Checkpoint.open(folder).fingerprint)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    seen.add(Checkpoint.open(folder).fingerprint)
    assert len(seen) == 6


def with_answers(tiny_checkpoint: Path, folder: Path) -> Path:
    """A copy without a card, whose tokenizer knows the two answers, in a folder of that name."""
    shutil.copytree(tiny_checkpoint, folder)
    (folder / CARD).unlink()
    tokenizer = read_tokenizer(folder)
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.save(str(folder / "tokenizer.json"))
    change(folder / "config.json", vocab_size=600)
    return folder


def test_a_public_reranker_needs_no_card(tiny_checkpoint, tmp_path):
    opened = Checkpoint.open(with_answers(tiny_checkpoint, tmp_path / "Qwen3-Reranker-0.6B"))
    assert opened.card.readout.kind == "yes_no"
    assert opened.card.readout.tokens == ("no", "yes")
    assert opened.card.prompt.template == "qwen3_reranker"
    assert "web search query" in opened.card.prompt.instruction


def test_a_card_wins_over_a_public_name(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "RexReranker-0.6B")
    assert Checkpoint.open(folder).card.readout.kind == "bins"


def test_the_same_model_under_another_name_is_refused(tiny_checkpoint, tmp_path):
    message = refused(with_answers(tiny_checkpoint, tmp_path / "my-reranker"))
    assert "gen_rerank.json is missing" in message
    assert "thebajajra/RexReranker-0.6B" in message


def test_a_public_name_with_another_tokenizer_is_refused(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "Qwen3-Reranker-4B")
    (folder / CARD).unlink()
    assert "the readout token 'no' is not a single token" in refused(folder)


def test_a_card_without_a_map_is_written_as_it_always_was() -> None:
    assert Calibration(temperature=1.5).model_dump_json() == '{"temperature":1.5,"thresholds":{}}'


def test_a_card_with_all_that_calibration_writes_opens_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    source = CalibrationSource(data="0123", split="validation", queries=40, pairs=400)
    record = PromiseRecord(promise="exact: wrong <= 5%", kept=False, confidence=0.9, queries=40)
    calibration = Calibration(
        thresholds={"exact": 0.9},
        score_map=ScoreMap(scores=(0.0, 0.4, 1.0), relevances=(0.0, 0.1, 0.9)),
        promises={"exact": record},
        source=source,
    )
    card = read_card(tiny_checkpoint, Card).model_copy(update={"calibration": calibration})
    card.save(tmp_path)
    assert read_card(tmp_path, Card) == card
