"""What llm-compressor is told to do for a scheme: its modifiers with their arguments, in order.

The schemes are a table (`gen_rerank.checkpoints.schemes`); running a recipe is `quant.llm_compressor`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compressed_tensors.quantization import preset_name_to_scheme

from gen_rerank.checkpoints.schemes import SCHEMES, Scheme

# Half of an activation's scale goes into the weights, as in the paper.
_SMOOTHING = 0.5
# What a recipe says of a grid; its group follows.
_GRID = {"num_bits", "type", "symmetric", "strategy"}


@dataclass(frozen=True)
class Modifier:
    """One step of llm-compressor: the class that does it, by its name, with its arguments as JSON has them."""

    modifier: Literal["SmoothQuantModifier", "QuantizationModifier", "GPTQModifier"]
    arguments: dict[str, Any]


def recipe(scheme: Scheme, ignore: Sequence[str], group: int) -> tuple[Modifier, ...]:
    """Return what llm-compressor is to do, in order.

    Args:
        scheme: of the table.
        ignore: the linear layers that are left alone, by their full names.
        group: one of the scheme's `groups`; the first is its preset's, for another one the grid is written out.

    Example:
        >>> from gen_rerank.checkpoints.schemes import scheme_named
        >>> recipe(scheme_named("fp8"), ["lm_head"], 1)[0].arguments["scheme"]
        'FP8_DYNAMIC'
    """
    assert group in scheme.groups, f"{scheme.name} has no groups of {group}"
    layers: dict[str, Any] = {"targets": ["Linear"]}
    if group == scheme.groups[0]:
        arguments = {**layers, "scheme": scheme.preset, "ignore": [*ignore]}
    else:
        arguments = {"config_groups": {"group_0": {**layers, "weights": _grid(scheme, group)}}, "ignore": [*ignore]}
    rounding = Modifier("GPTQModifier" if scheme.rounding == "gptq" else "QuantizationModifier", arguments)
    if not scheme.smooths:
        return (rounding,)
    mappings = [[[f"re:.*\\.{layer}$" for layer in readers], f"re:.*\\.{norm}$"] for norm, readers in scheme.smooths]
    return Modifier("SmoothQuantModifier", {"smoothing_strength": _SMOOTHING, "mappings": mappings}), rounding


def smoothed_norms(modules: Sequence[str], schemes: Sequence[Scheme] = SCHEMES) -> dict[str, str]:
    """Return, by layer, the norm that may have handed part of its scale to it; only their product is the parent's then.

    Args:
        modules: full names of a model's layers and norms.
        schemes: that may have been applied.

    Example:
        >>> smoothed_norms(["layers.0.self_attn.q_proj", "layers.0.self_attn.o_proj", "layers.0.input_layernorm"])
        {'layers.0.self_attn.q_proj': 'layers.0.input_layernorm'}
    """
    read_by = {layer: norm for scheme in schemes for norm, readers in scheme.smooths for layer in readers}
    named = ((module, module.split(".")) for module in modules)
    # Of `layers.0.self_attn.q_proj` the norm lies beside `self_attn`.
    pairs = {layer: ".".join([*parts[:-2], read_by[parts[-1]]]) for layer, parts in named if parts[-1] in read_by}
    return {layer: norm for layer, norm in pairs.items() if norm in modules}


def _grid(scheme: Scheme, group: int) -> dict[str, Any]:
    """Return the preset's grid of weights, written out, with another group."""
    weights = preset_name_to_scheme(scheme.preset, targets=["Linear"]).weights
    assert weights is not None, f"{scheme.preset} leaves weights alone"
    return {**weights.model_dump(mode="json", include=_GRID), "group_size": group}
