"""How schemes are applied, held against the presets that llm-compressor and vLLM know."""

from __future__ import annotations

import dataclasses
import json

import pytest
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES, QuantizationScheme

from gen_rerank import BadInput
from gen_rerank.checkpoints import schemes
from quant.schemes import SCHEMES, Scheme, scheme_named, smoothed_norms


def test_every_scheme_can_be_applied() -> None:
    assert [scheme.info for scheme in SCHEMES] == list(schemes.SCHEMES)
    assert all(scheme_named(scheme.name) is scheme for scheme in SCHEMES)
    with pytest.raises(BadInput, match="there is no quantization scheme 'W8A8'"):
        scheme_named("W8A8")


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_the_table_says_what_the_preset_is(scheme: Scheme) -> None:
    """Groups, blocks and the need of examples follow from the preset; nothing here is an opinion."""
    preset = PRESET_SCHEMES[scheme.info.preset]
    weights, inputs = preset["weights"], preset.get("input_activations")
    shared = [size for size in (weights.group_size, inputs and inputs.group_size) if size]
    assert scheme.groups[0] == max(shared, default=1)
    assert all(group % scheme.groups[-1] == 0 for group in scheme.groups)
    if weights.block_structure:
        assert weights.block_structure == [scheme.outputs, scheme.groups[0]]
    static = inputs is not None and inputs.dynamic is not True
    assert scheme.needs_calibration == (static or scheme.method == "GPTQModifier" or bool(scheme.smooths))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_recipe_is_json_and_leaves_the_readout_alone(scheme: Scheme) -> None:
    for group in scheme.groups:
        steps = scheme.recipe(["lm_head"], group)
        plain = [dataclasses.asdict(step) for step in steps]
        assert json.loads(json.dumps(plain)) == plain
        assert steps[-1].modifier == scheme.method
        assert steps[-1].arguments["ignore"] == ["lm_head"]


def test_a_written_out_grid_is_the_presets_but_for_its_group() -> None:
    scheme = scheme_named("w4a16-gptq")
    written = scheme.recipe([], 32)[0].arguments["config_groups"]["group_0"]
    ours, theirs = QuantizationScheme(**written).weights, PRESET_SCHEMES["W4A16"]["weights"]
    assert ours.group_size == 32
    assert ours.model_copy(update={"group_size": 128}) == theirs
    assert scheme.recipe([], 128)[0].arguments["scheme"] == "W4A16"


def test_smoothing_comes_before_rounding() -> None:
    smooth, rounding = scheme_named("int8-smoothquant").recipe(["lm_head"], 1)
    assert (smooth.modifier, rounding.modifier) == ("SmoothQuantModifier", "QuantizationModifier")
    readers, norm = smooth.arguments["mappings"][1]
    assert norm == r"re:.*\.post_attention_layernorm$"
    assert readers == [r"re:.*\.gate_proj$", r"re:.*\.up_proj$"]


def test_a_layer_is_paired_with_the_norm_that_it_reads() -> None:
    ends = ("self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm")
    modules = ["lm_head", *(f"model.layers.7.{end}" for end in ends)]
    pair = {"model.layers.7.self_attn.k_proj": "model.layers.7.input_layernorm"}
    assert smoothed_norms(modules) == pair, "the norm in front of the MLP is not there"
    after = "model.layers.7.post_attention_layernorm"
    assert smoothed_norms([*modules, after]) == {**pair, "model.layers.7.mlp.up_proj": after}
    assert smoothed_norms(modules, [scheme_named("int8")]) == {}


def test_vllm_has_the_groups_of_w4a16() -> None:
    from vllm.model_executor.layers.quantization.utils.marlin_utils import MARLIN_SUPPORTED_GROUP_SIZES

    assert set(scheme_named("w4a16-gptq").groups) <= set(MARLIN_SUPPORTED_GROUP_SIZES)
