"""What identity makes of honest changes (training, smoothing, re-alignment), of broken files and of encoders."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gen_rerank import Product
from gen_rerank.checkpoints.card import (
    Calibration,
    CalibrationSource,
    Card,
    Quantization,
    Readout,
    Realignment,
    ScoreMap,
    read_card,
)
from gen_rerank.prompting.prompt import PromptSpec
from quant.comparison import Check
from quant.identity.checks import identity
from quant.quantize import quantize
from tests.quant.conftest import Change, change_weights, put_rows
from train.encoder_bases import EncoderShape, new_encoder
from train.recipe import Recipe
from train.scalar import train_scalar

EMBEDDINGS = "model.embed_tokens.weight"
BLOCK = "model.layers.1"
TIERS = {"exact": 0.8, "close": 0.5}


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "candidate"))


def checks(reference: Path, candidate: Path) -> dict[str, Check]:
    return {check.name: check for check in identity(reference, candidate)[0]}


def failed(reference: Path, candidate: Path) -> list[str]:
    return [name for name, check in checks(reference, candidate).items() if not check.held]


def record(folder: Path, **provenance: object) -> None:
    """Put something into the card's provenance."""
    card = read_card(folder, Card)
    card.model_copy(update={"provenance": card.provenance.model_copy(update=provenance)}).save(folder)


def calibrate(folder: Path, temperature: float = 1.0, thresholds: dict[str, float] = TIERS) -> Path:
    card = read_card(folder, Card)
    card.model_copy(update={"calibration": Calibration(temperature=temperature, thresholds=thresholds)}).save(folder)
    return folder


def put(folder: Path, calibration: Calibration) -> None:
    read_card(folder, Card).model_copy(update={"calibration": calibration}).save(folder)


def nudge(weights: dict[str, Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    for tensor in weights.values():
        tensor += 0.02 * tensor.std() * torch.randn(tensor.shape, generator=generator)


def test_an_int8_copy_is_the_reference_but_for_its_layers(reference: Path, int8_copy: Path) -> None:
    found, layers = identity(reference, int8_copy)
    assert [check.name for check in found] == ["base", "tokenizer", "template", "readout", "calibration", "layers"]
    assert all(check.held for check in found)
    assert len(layers) == 10, "of 14"
    assert [row.relative_error for row in layers] == sorted((row.relative_error for row in layers), reverse=True)
    for row in layers:
        assert 0.001 < row.relative_error < 0.02
        assert row.scale == pytest.approx(1, abs=0.01)
    assert [check.held for check in identity(int8_copy, int8_copy)[0]] == [True] * 6, "a quantized reference"


def test_a_copy_in_another_dtype_is_the_same(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    change_weights(folder, lambda weights: weights.update({k: v.bfloat16() for k, v in weights.items()}))
    assert failed(reference, folder) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_of_a_16_bit_parent_is_the_same(
    dtype: torch.dtype, reference: Path, copy_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Quantization writes bfloat16, which has fewer bits than float16 has, in as many bytes."""
    parent = copy_of(reference)
    change_weights(parent, lambda weights: weights.update({k: v.to(dtype) for k, v in weights.items()}))
    copy = quantize(parent, "int8", tmp_path / "int8").folder
    assert failed(parent, copy) == []
    assert failed(copy, parent) == []
    change_weights(copy, lambda weights: weights[EMBEDDINGS][17].mul_(1 + 2**-7))
    assert failed(parent, copy) == ["base"]


def break_norms(weights: dict[str, Tensor]) -> None:
    for name in weights:
        if name.endswith(("input_layernorm.weight", "post_attention_layernorm.weight")):
            weights[name][0] *= -3
            weights[name][1] = 0


def test_smoothed_norms_are_judged_with_their_layers(
    smoothed_copy: Path, reference: Path, copy_of: Callable[[Path], Path]
) -> None:
    found = checks(reference, smoothed_copy)
    assert all(check.held for check in found.values())
    assert found["base"].finding == (
        "embeddings and norms, but for 4 smoothed norms, judged with the layers that read them, are the reference's"
    )
    assert [check.held for check in identity(smoothed_copy, reference)[0]] == [True] * 6, "the other way round too"
    folder = change_weights(copy_of(smoothed_copy), break_norms)
    assert failed(reference, folder) == ["layers"]
    assert re.search(
        r"_proj is \d\d\.\d\d% from the reference's \(and 9 more layers\): more than rounding explains",
        checks(reference, folder)["layers"].finding,
    )


def test_norms_are_smoothed_only_where_the_card_says_so(
    reference: Path, int8_copy: Path, copy_of: Callable[[Path], Path]
) -> None:
    assert "norms are the reference's" in checks(reference, int8_copy)["base"].finding
    folder = change_weights(copy_of(int8_copy), break_norms)
    assert failed(reference, folder) == ["base"]
    assert "layernorm.weight is not the reference's in 2 of 64 rows" in checks(reference, folder)["base"].finding


def noisy(share: float) -> Change:
    def change(weights: dict[str, Tensor]) -> None:
        weight = weights[f"{BLOCK}.mlp.up_proj.weight"]
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        weight += share * weight.norm() / noise.norm() * noise

    return change


@pytest.mark.parametrize(("share", "held"), [(0.008, True), (0.012, False)])
def test_a_layer_that_is_not_quantized_is_the_references_but_for_rounding(
    share: float, held: bool, reference: Path, copy_of: Callable[[Path], Path]
) -> None:
    folder = change_weights(copy_of(reference), noisy(share))
    found = checks(reference, folder)["layers"]
    assert found.held is held
    said = f"{BLOCK}.mlp.up_proj is {share:.2%} from the reference's: more than rounding explains"
    assert (found.finding == said) is not held


@pytest.mark.parametrize(("steps", "held"), [(1, True), (16, False)])
def test_a_layer_of_8_bits_is_as_near_as_8_bits_are(
    steps: int, held: bool, reference: Path, int8_copy: Path, copy_of: Callable[[Path], Path]
) -> None:
    def move(weights: dict[str, Tensor]) -> None:
        weight = weights[f"{BLOCK}.mlp.up_proj.weight"]
        sign = torch.randint(2, weight.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        weights[f"{BLOCK}.mlp.up_proj.weight"] = (weight.int() + steps * sign).clamp(-127, 127).to(torch.int8)

    folder = change_weights(copy_of(int8_copy), move)
    assert failed(reference, folder) == ([] if held else ["layers"])


def test_smoothing_cancels_but_half_of_it_does_not(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    record(folder, quantization=Quantization(scheme="int8-smoothquant"))
    factors = torch.linspace(0.5, 4.0, 64)
    norm = f"{BLOCK}.post_attention_layernorm.weight"

    def smooth(weights: dict[str, Tensor]) -> None:
        weights[norm] /= factors
        for name in ("gate_proj", "up_proj"):
            weights[f"{BLOCK}.mlp.{name}.weight"] *= factors

    change_weights(folder, smooth)
    found, layers = identity(reference, folder)
    assert all(check.held for check in found)
    assert layers[0].relative_error < 1e-6
    change_weights(folder, lambda weights: weights[norm].mul_(factors))
    assert failed(reference, folder) == ["layers"]
    assert f"{BLOCK}.mlp." in checks(reference, folder)["layers"].finding


def test_training_is_a_finding_only_where_the_card_hides_it(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = change_weights(copy_of(reference), nudge)
    hidden = checks(reference, folder)
    assert not hidden["base"].held
    assert "although the card records no training" in hidden["base"].finding
    assert "the card records no training" in hidden["readout"].finding
    assert "more than rounding explains" in hidden["layers"].finding
    record(folder, recipe={"fake_quantization": True})
    told = checks(reference, folder)
    assert failed(reference, folder) == []
    assert "of the reference's base, trained differently" in told["base"].finding


def test_one_changed_embedding_row_is_found(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = change_weights(copy_of(reference), lambda weights: weights[EMBEDDINGS][17].mul_(1.5))
    assert failed(reference, folder) == ["base"]
    assert f"{EMBEDDINGS} is not the reference's in 1 of " in checks(reference, folder)["base"].finding


def test_realigned_rows_may_differ_but_not_lie_on_a_grid(
    int8_copy: Path, reference: Path, copy_of: Callable[[Path], Path]
) -> None:
    folder = copy_of(int8_copy)
    ids = read_card(folder, Card).readout.token_ids
    rows = torch.randn(11, 64, generator=torch.Generator().manual_seed(0))

    def move(weights: dict[str, Tensor]) -> None:
        old = weights[EMBEDDINGS][list(ids)].float()
        put_rows(weights, ids, old + 0.05 * old.std() * rows)

    change_weights(folder, move)
    assert failed(reference, folder) == ["readout"]
    made = read_card(folder, Card).provenance.quantization
    record(folder, quantization=made.model_copy(update={"realigned": Realignment(data="0" * 16)}))
    assert failed(reference, folder) == []

    def round_to_4_bits(weights: dict[str, Tensor]) -> None:
        scale = rows.abs().amax(dim=1, keepdim=True) / 7
        put_rows(weights, ids, (rows / scale).round() * scale)

    change_weights(folder, round_to_4_bits)
    assert "lie on a grid of 4-bit integers" in checks(reference, folder)["readout"].finding


@pytest.fixture(scope="module")
def smoothed_copy(reference: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("smoothed") / "model"
    return quantize(reference, "int8-smoothquant", out, tiny_data, example_pairs=32).folder


@pytest.fixture(scope="module")
def realigned(int8_copy: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 copy after phase 2, by the recipe that is for that."""
    return train_scalar(
        Recipe.load("realign"), int8_copy, tiny_data, tmp_path_factory.mktemp("realigned") / "model"
    ).folder


def test_realignment_excuses_the_readout_only(
    realigned: Path, reference: Path, copy_of: Callable[[Path], Path]
) -> None:
    found = checks(reference, realigned)
    assert all(check.held for check in found.values())
    assert "embeddings and norms are the reference's" in found["base"].finding
    assert "finite, none is zero" in found["readout"].finding
    assert [check.held for check in identity(realigned, realigned)[0]] == [True] * 6
    folder = copy_of(realigned)

    def change(weights: dict[str, Tensor]) -> None:
        weights[EMBEDDINGS][17] *= 1.5
        weights[f"{BLOCK}.self_attn.q_norm.weight"] *= 1.02

    change_weights(folder, change)
    assert failed(reference, folder) == ["base"]
    finding = checks(reference, folder)["base"].finding
    assert f"{EMBEDDINGS} is not the reference's in 1 of " in finding
    assert "(and 1 more), although the card records no training" in finding


@pytest.mark.parametrize(
    ("temperature", "thresholds", "says"),
    [
        (0.01, TIERS, "the temperature is 0.01, in the reference 1"),
        (1.0, {}, "the card has no thresholds (the reference's are exact 0.8, close 0.5): what it serves has no tiers"),
        (1.0, {"exact": 0.8}, "the threshold of close is not set, in the reference 0.5"),
        (
            2.0,
            {"exact": 0.7, "close": 0.5},
            "the temperature is 2, in the reference 1, and the threshold of exact is 0.7, in the reference 0.8",
        ),
    ],
)
def test_a_copy_has_the_references_calibration(
    temperature: float, thresholds: dict[str, float], says: str, reference: Path, tmp_path: Path
) -> None:
    before, after = (Path(shutil.copytree(reference, tmp_path / name)) for name in ("before", "after"))
    calibrate(before)
    calibrate(after, temperature, thresholds)
    assert failed(before, after) == ["calibration"]
    assert checks(before, after)["calibration"].finding == says
    calibrate(after, 1 + 1e-9)
    assert checks(before, after)["calibration"].finding == "the same: temperature 1, thresholds exact 0.8, close 0.5"


def test_a_copy_has_the_references_map(reference: Path, tmp_path: Path) -> None:
    before, after = (Path(shutil.copytree(reference, tmp_path / name)) for name in ("before", "after"))
    put(before, Calibration(thresholds=TIERS, score_map=ScoreMap(scores=(0.0, 1.0), relevances=(0.1, 0.9))))
    put(after, Calibration(thresholds=TIERS))
    finding = checks(before, after)["calibration"].finding
    assert failed(before, after) == ["calibration"]
    assert finding.startswith("the map of scores is not set, in the reference a map with 2 points (")
    put(after, read_card(before, Card).calibration)
    assert "temperature 1, a map with 2 points (" in checks(before, after)["calibration"].finding


def test_a_copy_may_be_calibrated_itself(reference: Path, tmp_path: Path) -> None:
    """The model in its card is then not the one that was quantized; a reference that was calibrated later is told."""
    before, after = (Path(shutil.copytree(reference, tmp_path / name)) for name in ("before", "after"))
    source = CalibrationSource(data="0", split="validation", queries=40, pairs=400, model="parent")
    put(before, Calibration(temperature=1.2, thresholds=TIERS, source=source))
    record(after, quantization=Quantization(scheme="int8", parent_fingerprint="parent"))
    put(after, Calibration(thresholds=TIERS))
    finding = checks(before, after)["calibration"].finding
    assert "the reference was calibrated after it was copied" in finding
    assert not checks(before, after)["calibration"].held
    put(after, Calibration(temperature=1.3, thresholds=TIERS, source=source.model_copy(update={"model": "copy"})))
    assert checks(before, after)["calibration"].held
    assert "a calibration of this copy: the temperature is 1.3" in checks(before, after)["calibration"].finding
    put(after, Calibration(temperature=1.3, thresholds=TIERS, source=source))
    assert not checks(before, after)["calibration"].held, "the parent's source is no calibration of the copy"


def test_a_realigned_copy_has_a_temperature_of_its_own_and_the_references_thresholds(
    realigned: Path, reference: Path, tmp_path: Path
) -> None:
    before, after = (
        Path(shutil.copytree(folder, tmp_path / name)) for name, folder in (("before", reference), ("after", realigned))
    )
    temperature = read_card(after, Card).calibration.temperature
    assert temperature != 1
    found = "its own, as the card records a calibration of this copy"
    assert found in checks(before, after)["calibration"].finding, "the reference has no tiers, so training found some"
    put(after, Calibration(temperature=temperature))
    told = checks(before, after)["calibration"]
    assert told.held
    assert told.finding == (
        f"its own, as the card records further training: the temperature is {temperature:g}, in the reference 1"
    )
    calibrate(before)
    assert failed(before, after) == ["calibration"]
    assert "what it serves has no tiers" in checks(before, after)["calibration"].finding
    calibrate(after, temperature)
    assert checks(before, after)["calibration"] == told, "the thresholds are no difference"
    calibrate(after, temperature, {"exact": 0.7, "close": 0.5})
    assert failed(before, after) == ["calibration"]
    assert "the threshold of exact is 0.7, in the reference 0.8" in checks(before, after)["calibration"].finding
    record(after, recipe={"fake_quantization": True})
    assert checks(before, after)["calibration"].held, "trained further"


def test_other_shapes_are_another_base(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert checks(reference, folder)["base"].finding == (
        "made from another base: config.json says num_hidden_layers 3, the reference's says 2"
    )


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("max_length", 64, "max_length is 64, in the reference 128"),
        ("budgets", {"title": 8}, "the budget of title is 8, in the reference 64"),
        ("instruction", "Guess.", "instruction is 'Guess.'"),
        ("sha256", "0" * 64, "sha256 is '000"),
    ],
)
def test_each_field_of_the_prompt_counts(
    field: str, value: object, says: str, reference: Path, copy_of: Callable[[Path], Path]
) -> None:
    folder = copy_of(reference)
    card = read_card(folder, Card)
    card.model_copy(update={"prompt": card.prompt.model_copy(update={field: value})}).save(folder)
    assert failed(reference, folder) == ["template"]
    assert says in checks(reference, folder)["template"].finding


def test_a_default_that_is_written_out_is_no_difference(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    card = read_card(folder, Card)
    card.model_copy(update={"prompt": card.prompt.model_copy(update={"budgets": {"title": 64}})}).save(folder)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads((folder / "tokenizer.json").read_text()), indent=7))
    assert failed(reference, folder) == []


def test_broken_files_fail_the_checks_that_need_them(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    (folder / "tokenizer.json").unlink()
    (folder / "model.safetensors").write_bytes(b"not tensors")
    found = checks(reference, folder)
    assert [name for name, check in found.items() if check.held] == ["template", "calibration"]
    for name in ("base", "tokenizer", "readout", "layers"):
        assert found[name].finding.startswith("could not be checked: ")
    assert "tokenizer.json is missing" in found["tokenizer"].finding


def test_more_than_two_permuted_rows(reference: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(reference)
    ids = read_card(folder, Card).readout.token_ids
    change_weights(folder, lambda weights: put_rows(weights, ids, weights[EMBEDDINGS][list(ids[1:] + ids[:1])]))
    assert "11 rows of the readout are permuted: that of <|rel_0|> is the reference's of <|rel_1|>" in (
        checks(reference, folder)["readout"].finding
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    texts = [Product(product_id="1", title=f"oak desk {i}").title for i in range(50)]
    new_encoder(texts, EncoderShape(hidden=32, layers=2, mlp=32, heads=2, vocabulary=512), folder, max_length=64)
    Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder", max_length=64)).save(folder)
    return folder


def test_an_encoder_is_read_at_its_head(encoder: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(encoder)
    assert failed(encoder, folder) == []
    change_weights(folder, lambda weights: weights["classifier.weight"][3].zero_())
    assert checks(encoder, folder)["readout"].finding == "the row of the label worth 0.3 is zero"
    shutil.rmtree(folder)
    folder = copy_of(encoder)
    change_weights(folder, lambda weights: weights["head.dense.weight"].mul_(1.01))
    assert failed(encoder, folder) == ["readout"]
    assert checks(encoder, folder)["readout"].finding.startswith(
        "head.dense.weight of the readout is not the reference's"
    )
