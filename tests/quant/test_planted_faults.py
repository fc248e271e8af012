"""What goes wrong in the field, planted in a healthy int8 copy: the right gate must fail and name the place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from gen_rerank import Dataset
from gen_rerank.checkpoints.card import Card, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.evaluation.verdicts import Verdict
from gen_rerank.prompting.prompt import PromptSpec, template_sha256
from quant.compare import ComparisonPlan, compare
from quant.comparison import Candidate, Comparison
from quant.gates import Gates
from quant.quantize import quantize
from tests.quant.conftest import change_weights, put_rows

EMBEDDINGS = "model.embed_tokens.weight"
LAYER = "model.layers.1.mlp.up_proj"

# Random weights are harder to quantize than trained ones. The gates on files and on collapse keep their defaults.
LIMITS = Gates(
    ndcg5=-0.3, ndcg10=-0.3, rps=0.1, ece=0.1, tier_flips=0.3, top5_kept=0.5, kendall_tau=0.5, mean_change=0.2,
    p99_change=0.5, jensen_shannon=0.2,
)  # fmt: skip


def eight_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows as int8 and their scales, `[n, 1]`."""
    scale = rows.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / 127
    return (rows.float() / scale).round().to(torch.int8), scale


def rows_rounded_to_8_bits(folder: Path) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        ids = token_ids(folder)
        grid, scale = eight_bits(weights[EMBEDDINGS][list(ids)])
        put_rows(weights, ids, grid * scale)

    change_weights(folder, change)


def quantized_output_matrix(folder: Path) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        weights["lm_head.weight"], scale = eight_bits(weights[EMBEDDINGS])
        weights["lm_head.weight_scale"] = scale.to(torch.bfloat16)

    change_weights(folder, change)


def quantized_embeddings(folder: Path) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        weights[EMBEDDINGS], scale = eight_bits(weights[EMBEDDINGS])
        weights["model.embed_tokens.weight_scale"] = scale.to(torch.bfloat16)

    change_weights(folder, change)


def broken_norms(folder: Path) -> None:
    """Two channels of each norm in front of layers: in int8 nothing was moved out of them."""

    def change(weights: dict[str, Tensor]) -> None:
        for name in weights:
            if name.endswith(("input_layernorm.weight", "post_attention_layernorm.weight")):
                weights[name][0] *= -3
                weights[name][1] = 0

    change_weights(folder, change)


def zeroed_row(folder: Path) -> None:
    change_weights(folder, lambda weights: weights[EMBEDDINGS][token_ids(folder)[3]].zero_())


def swapped_rows(folder: Path) -> None:
    ids = token_ids(folder)
    change_weights(folder, lambda weights: put_rows(weights, (ids[2], ids[7]), weights[EMBEDDINGS][[ids[7], ids[2]]]))


def swapped_values(folder: Path) -> None:
    card = read_card(folder, Card)
    values = list(card.readout.values)
    values[2], values[7] = values[7], values[2]
    card.model_copy(update={"readout": card.readout.model_copy(update={"values": tuple(values)})}).save(folder)


def saturated_scores(folder: Path) -> None:
    card = read_card(folder, Card)
    card.model_copy(update={"calibration": card.calibration.model_copy(update={"temperature": 0.01})}).save(folder)


def saturating_rows(folder: Path) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        ids = token_ids(folder)
        put_rows(weights, ids, weights[EMBEDDINGS][list(ids)] * 100)

    change_weights(folder, change)


def wrong_template(folder: Path) -> None:
    card = read_card(folder, Card)
    spec = PromptSpec(template="query_first", sha256=template_sha256("query_first"), max_length=card.prompt.max_length)
    card.model_copy(update={"prompt": spec}).save(folder)


def tokenizer_with_another_vocabulary(folder: Path) -> None:
    def change(tokenizer: dict[str, dict[str, dict[str, int]]]) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        tokenizer["model"]["vocab"] = dict(zip([*tokens[:-2], tokens[-1], tokens[-2]], range(len(tokens)), strict=True))

    change_tokenizer(folder, change)


def tokenizer_with_other_merges(folder: Path) -> None:
    change_tokenizer(folder, lambda tokenizer: tokenizer["model"]["merges"].reverse())


def tokenizer_with_bins_at_other_ids(folder: Path) -> None:
    def change(tokenizer: dict[str, list[dict[str, object]]]) -> None:
        bins = {token["content"]: token for token in tokenizer["added_tokens"]}
        first, last = bins["<|rel_0|>"], bins["<|rel_10|>"]
        first["content"], last["content"] = last["content"], first["content"]

    change_tokenizer(folder, change)


def doubled_scale(folder: Path) -> None:
    change_weights(folder, lambda weights: weights[f"{LAYER}.weight_scale"].mul_(2))


def weights_that_are_not_finite(folder: Path) -> None:
    change_weights(folder, lambda weights: weights[f"{LAYER}.weight_scale"].fill_(float("nan")))


def token_ids(folder: Path) -> tuple[int, ...]:
    return read_card(folder, Card).readout.token_ids


def change_tokenizer(folder: Path, change: Callable[[dict], object]) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


# The fault, the gate that must fail, and what its sentence must say.
PLANTED = [
    (rows_rounded_to_8_bits, "readout", r"differ from the reference's by 0\.\d+%, and lie on a grid of 8-bit integers"),
    (quantized_output_matrix, "readout", "the readout is quantized: the weights of lm_head are stored as int8"),
    (quantized_embeddings, "readout", "the readout is quantized: the weights of model.embed_tokens are stored as int8"),
    (broken_norms, "base", r"layernorm.weight is not the reference's in 2 of 64 rows \(and 3 more\), although"),
    (zeroed_row, "readout", r"the row of <\|rel_3\|> is zero"),
    (swapped_rows, "readout", r"the rows of <\|rel_2\|> and <\|rel_7\|> are swapped"),
    (swapped_values, "readout", r"the value of <\|rel_2\|> is 0\.7 .* swapped with that of <\|rel_7\|>"),
    (saturated_scores, "collapsed", r"\d+\.\d% of the distributions collapsed onto one bin"),
    (saturated_scores, "calibration", r"the temperature is 0\.01, in the reference 1"),
    (saturating_rows, "collapsed", r"\d+\.\d% of the distributions collapsed onto one bin"),
    (saturating_rows, "readout", r"differ from the reference's by 9,?\d+\.\d+%, and the card records no training"),
    (wrong_template, "template", "template is 'query_first', in the reference 'product_first'"),
    (tokenizer_with_another_vocabulary, "tokenizer", r"the token '.+' has the id \d+, in the reference \d+"),
    (tokenizer_with_other_merges, "tokenizer", r"merge 0 is .+, in the reference "),
    (tokenizer_with_bins_at_other_ids, "tokenizer", r"the added token '<\|rel_0\|>' has the id \d+, in the reference"),
    (tokenizer_with_bins_at_other_ids, "scorable", "the tokenizer is another one"),
    (doubled_scale, "layers", rf"{LAYER} is scaled by 2\.00: a wrong scale"),
    (weights_that_are_not_finite, "layers", f"{LAYER} holds values that are not finite"),
    (weights_that_are_not_finite, "scorable", "not finite"),
]


@pytest.fixture(scope="module")
def other_base(
    tiny_checkpoint: Path, spread_scores: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An int8 copy of a checkpoint of the same shape with other random weights."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("other") / "model"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0.0, float(parameter.std()))
    model.save_pretrained(folder)
    spread_scores(folder)
    return quantize(folder, "int8", folder.with_name("other-base")).folder


@pytest.fixture(scope="module")
def comparison(
    reference: Path, int8_copy: Path, other_base: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    """One run with the healthy copy, one copy a fault, and a copy of the reference itself."""
    folder = tmp_path_factory.mktemp("planted")
    copies = []
    for plant in dict.fromkeys(plant for plant, _, _ in PLANTED):
        copies.append(str(shutil.copytree(int8_copy, folder / plant.__name__)))
        plant(folder / plant.__name__)
    shutil.copytree(reference, folder / "copy")
    (folder / "gates.yaml").write_text(LIMITS.to_yaml())
    candidates = (str(int8_copy), str(folder / "copy"), str(other_base), *copies)
    plan = ComparisonPlan(
        str(reference), candidates, tiny_data, folder / "out", gates=folder / "gates.yaml", cost=False
    )
    return compare(plan)


def candidate(comparison: Comparison, name: str) -> Candidate:
    return next(candidate for candidate in comparison.candidates if candidate.name == name)


def verdict(comparison: Comparison, name: str, gate: str) -> Verdict:
    return next(verdict for verdict in candidate(comparison, name).verdicts if verdict.gate == gate)


@pytest.mark.parametrize(("plant", "gate", "says"), PLANTED, ids=[f"{p.__name__}-{gate}" for p, gate, _ in PLANTED])
def test_the_right_gate_fails_and_names_the_place(
    plant: Callable[[Path], None], gate: str, says: str, comparison: Comparison
) -> None:
    found = verdict(comparison, plant.__name__, gate)
    assert found.passed is False
    assert re.search(says, found.meaning), found.meaning
    assert verdict(comparison, "int8", gate).passed


def test_another_base_is_named(comparison: Comparison) -> None:
    found = verdict(comparison, "other-base", "base")
    assert found.passed is False
    assert "made from another base: model.embed_tokens has little in common" in found.meaning
    assert verdict(comparison, "other-base", "layers").passed is False
    for gate in ("tokenizer", "template"):
        assert verdict(comparison, "other-base", gate).passed


def test_a_fault_fails_no_gate_on_files_that_is_not_its_own(comparison: Comparison) -> None:
    for plant, _, _ in PLANTED:
        own = {gate for other, gate, _ in PLANTED if other is plant}
        checks = {check.name: check.held for check in candidate(comparison, plant.__name__).checks}
        assert {name for name, held in checks.items() if not held} == own & checks.keys(), plant.__name__


def test_the_healthy_copy_passes(comparison: Comparison) -> None:
    assert candidate(comparison, "int8").failures == ()
    assert candidate(comparison, "int8").drift.mean_change > 0
    assert not comparison.passed, "the others do not"


def test_the_reference_against_its_own_copy(comparison: Comparison, reference: Path) -> None:
    copy = candidate(comparison, "copy")
    assert copy.drift.changes == comparison.floor.changes
    for name, value in copy.drift.model_dump(exclude={"changes", "flips"}).items():
        assert value == pytest.approx(getattr(comparison.floor, name), abs=1e-6), name
    assert copy.drift.mean_change == copy.drift.largest_change == copy.drift.tier_flips == 0
    assert copy.worst == ()
    assert all(interval.mean == interval.low == interval.high == 0 for interval in copy.delta.values())
    verdicts = Gates().judge(copy, comparison.reference, comparison.floor)
    assert [verdict.gate for verdict in verdicts if not verdict.passed] == []
    assert len(verdicts) == 19, "all but that of vLLM, which was not measured"


def test_a_refused_candidate_says_why_and_passes_no_gate_on_scores(comparison: Comparison) -> None:
    refused = candidate(comparison, "tokenizer_with_bins_at_other_ids")
    assert "the tokenizer is another one" in refused.refused
    assert refused.quality is None
    assert refused.drift is None
    judged = {verdict.gate: verdict.passed for verdict in refused.verdicts}
    assert judged["scorable"] is False
    assert {judged[gate] for gate in ("collapsed", "ndcg@5", "slice", "rps", "ece", "tier_flips", "kendall_tau")} == {
        None
    }


def test_every_fault_was_really_planted(comparison: Comparison, int8_copy: Path) -> None:
    healthy = load_file(int8_copy / "model.safetensors")
    for found in comparison.candidates[3:]:
        folder = Path(found.folder)
        changed = [
            name
            for name in ("gen_rerank.json", "tokenizer.json")
            if json.loads((folder / name).read_text()) != json.loads((int8_copy / name).read_text())
        ]
        weights = load_file(folder / "model.safetensors")
        if weights.keys() != healthy.keys() or any(not torch.equal(healthy[name], weights[name]) for name in healthy):
            changed.append("model.safetensors")
        assert len(changed) == 1, found.name


def test_the_tiny_reference_says_something(reference: Path, tiny_shop: Dataset, comparison: Comparison) -> None:
    assert Checkpoint.open(reference).card.readout.kind == "bins"
    assert comparison.pairs == len(tiny_shop.of("test").judgments)
    assert comparison.floor.stuck < 0.1
