"""The table of schemes: names, presets that exist, what they ask of layers, and where each runs."""

from __future__ import annotations

import pytest
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES

from gen_rerank import BadInput
from gen_rerank.checkpoints.schemes import SCHEMES, Scheme, scheme_named

NAMES = ("int8", "int8-smoothquant", "w4a16-gptq", "fp8", "fp8-block", "nvfp4", "mxfp4", "mxfp4a16")


def test_the_names_are_unique_and_found() -> None:
    assert tuple(scheme.name for scheme in SCHEMES) == NAMES
    assert all(scheme_named(scheme.name) is scheme for scheme in SCHEMES)
    assert {scheme.preset for scheme in SCHEMES} <= PRESET_SCHEMES.keys()


@pytest.mark.parametrize("name", ["int4", "", "W8A8", "INT8"])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name!r}; choose one of int8, int8-smoothquant, .*, mxfp4a16$"):
        scheme_named(name)


def test_each_says_where_it_runs() -> None:
    assert scheme_named("int8").runs_on == "CPU: native and fast; Hopper: native; Blackwell: no kernel, use fp8"
    assert all(scheme.cpu and scheme.hopper and scheme.blackwell and scheme.explanation for scheme in SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_the_table_says_what_the_preset_is(scheme: Scheme) -> None:
    """Groups, blocks and the need of examples follow from the preset; nothing here is an opinion."""
    preset = PRESET_SCHEMES[scheme.preset]
    weights, inputs = preset["weights"], preset.get("input_activations")
    shared = [size for size in (weights.group_size, inputs and inputs.group_size) if size]
    assert scheme.groups[0] == max(shared, default=1)
    assert all(group % scheme.groups[-1] == 0 for group in scheme.groups)
    if weights.block_structure:
        assert weights.block_structure == [scheme.outputs, scheme.groups[0]]
    static = inputs is not None and inputs.dynamic is not True
    assert scheme.needs_examples == (static or scheme.rounding == "gptq" or bool(scheme.smooths))


def test_vllm_has_the_groups_of_w4a16() -> None:
    from vllm.model_executor.layers.quantization.utils.marlin_utils import MARLIN_SUPPORTED_GROUP_SIZES

    assert set(scheme_named("w4a16-gptq").groups) <= set(MARLIN_SUPPORTED_GROUP_SIZES)
