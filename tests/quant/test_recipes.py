"""What llm-compressor is told, held against the presets that it knows."""

from __future__ import annotations

import dataclasses
import json

import pytest
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES, QuantizationScheme

from gen_rerank.checkpoints.schemes import SCHEMES, Scheme, scheme_named
from quant.recipes import recipe, smoothed_norms


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_recipe_is_json_and_leaves_the_readout_alone(scheme: Scheme) -> None:
    for group in scheme.groups:
        steps = recipe(scheme, ["lm_head"], group)
        plain = [dataclasses.asdict(step) for step in steps]
        assert json.loads(json.dumps(plain)) == plain
        assert (steps[-1].modifier == "GPTQModifier") == (scheme.rounding == "gptq")
        assert steps[-1].arguments["ignore"] == ["lm_head"]


def test_a_written_out_grid_is_the_presets_but_for_its_group() -> None:
    scheme = scheme_named("w4a16-gptq")
    written = recipe(scheme, [], 32)[0].arguments["config_groups"]["group_0"]
    ours, theirs = QuantizationScheme(**written).weights, PRESET_SCHEMES["W4A16"]["weights"]
    assert ours.group_size == 32
    assert ours.model_copy(update={"group_size": 128}) == theirs
    assert recipe(scheme, [], 128)[0].arguments["scheme"] == "W4A16"


def test_smoothing_comes_before_rounding() -> None:
    smooth, rounding = recipe(scheme_named("int8-smoothquant"), ["lm_head"], 1)
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
