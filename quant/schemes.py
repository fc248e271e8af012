"""How each quantization scheme is applied: what it asks of a model's linear layers, and llm-compressor's recipe for it.

A table and nothing else: `quant.quantize` applies a scheme; what it is called and where it runs is in `gen_rerank.checkpoints.schemes`.
All schemes leave the embeddings, the norms and the readout in bfloat16 (SmoothQuant rescales norms): eleven rows cost
nothing, and a quantized readout is the field's best known way to scores that are stuck at 0, 0.5 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gen_rerank.checkpoints.schemes import SchemeInfo, scheme_info


@dataclass(frozen=True)
class Step:
    """One modifier of llm-compressor, by its class name, with its arguments as JSON has them."""

    modifier: Literal["SmoothQuantModifier", "QuantizationModifier", "GPTQModifier"]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Scheme:
    """One way to quantize.

    Attributes:
        name: what people type.
        groups: weights share a scale in groups of this many along a layer's input, so its size must be a multiple; the
            first that divides every layer's is taken. 1 where any size will do.
        outputs: every layer's output size must be a multiple of this.
        needs_calibration: whether example pairs must run through the model; activations that are scaled for each token
            while serving need none.
        encoders: whether encoders may use it.
        method: the modifier that rounds the weights.
        weights: the preset's weight grid written out, where there are other groups than the preset's.
        smooths: the norms of a decoder layer that hand part of their scale to the layers that read them, and those
            layers, by the ends of their names.

    Example:
        >>> scheme_named("int8").info.preset
        'W8A8'
    """

    name: str
    groups: tuple[int, ...] = (1,)
    outputs: int = 1
    needs_calibration: bool = False
    encoders: bool = True
    method: Literal["QuantizationModifier", "GPTQModifier"] = "QuantizationModifier"
    weights: dict[str, Any] = field(default_factory=dict)
    smooths: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def info(self) -> SchemeInfo:
        """What it is, its preset, and where the result runs."""
        return scheme_info(self.name)

    def recipe(self, ignore: Sequence[str], group: int) -> tuple[Step, ...]:
        """Return what llm-compressor is to do, in order.

        Args:
            ignore: the linear layers that are left alone, by their full names.
            group: one of `groups`.

        Example:
            >>> scheme_named("fp8").recipe(["lm_head"], 1)[0].arguments["scheme"]
            'FP8_DYNAMIC'
        """
        assert group in self.groups, f"{self.name} has no groups of {group}"
        layers: dict[str, Any] = {"targets": ["Linear"]}
        if group == self.groups[0]:
            arguments = {**layers, "scheme": self.info.preset, "ignore": [*ignore]}
        else:
            weights = {**self.weights, "group_size": group}
            arguments = {"config_groups": {"group_0": {**layers, "weights": weights}}, "ignore": [*ignore]}
        rounding = Step(self.method, arguments)
        if not self.smooths:
            return (rounding,)
        mappings = [[[f"re:.*\\.{layer}$" for layer in readers], f"re:.*\\.{norm}$"] for norm, readers in self.smooths]
        return Step("SmoothQuantModifier", {"smoothing_strength": 0.5, "mappings": mappings}), rounding


SCHEMES: tuple[Scheme, ...] = (
    Scheme("int8"),
    Scheme(
        "int8-smoothquant",
        needs_calibration=True,
        encoders=False,
        smooths=(
            ("input_layernorm", ("q_proj", "k_proj", "v_proj")),
            ("post_attention_layernorm", ("gate_proj", "up_proj")),
        ),
    ),
    Scheme(
        "w4a16-gptq",
        # 128 is the preset's; Machete takes 64 and 128, Marlin 32 too, the CPU's kernel any even number.
        groups=(128, 64, 32),
        outputs=32,
        needs_calibration=True,
        method="GPTQModifier",
        weights={"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"},
    ),
    Scheme("fp8"),
    # Activations share scales in groups of 128, so inputs must be multiples; vLLM refuses blocks that straddle two of
    # the matrices that it joins (queries, keys and values; gate and up), so outputs must be too.
    Scheme("fp8-block", groups=(128,), outputs=128),
    Scheme("nvfp4", groups=(16,), needs_calibration=True),
    Scheme("mxfp4", groups=(32,)),
    Scheme("mxfp4a16", groups=(32,)),
)


def scheme_named(name: str) -> Scheme:
    """Return the scheme of this name.

    Raises:
        BadInput: there is none; the message lists them.

    Example:
        >>> scheme_named("mxfp4").groups
        (32,)
    """
    known = {scheme.name: scheme for scheme in SCHEMES}
    return known[scheme_info(name).name]


def smoothed_norms(modules: Sequence[str], schemes: Sequence[Scheme] = SCHEMES) -> dict[str, str]:
    """Return, by layer, the norm that may have handed part of its scale to it; only the product of the two is the parent's then.

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
