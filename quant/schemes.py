"""The quantization schemes: what each does to a model's linear layers, and where the result runs.

A table and nothing else: `quant.quantize` applies a scheme, the documentation and `gen-rerank doctor` print it. What it says of a
CPU, of Hopper and of Blackwell is read in the kernel tables of vLLM 0.32; the doctor asks vLLM itself on the machine at hand.
All schemes leave the embeddings, the norms and the readout in bfloat16 (SmoothQuant rescales norms): eleven rows cost
nothing, and a quantized readout is the field's best known way to scores that are stuck at 0, 0.5 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gen_rerank.errors import BadInput


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
        preset: llm-compressor's name for it.
        groups: weights share a scale in groups of this many along a layer's input, so its size must be a multiple; the
            first that divides every layer's is taken. 1 where any size will do.
        outputs: every layer's output size must be a multiple of this.
        needs_calibration: whether example pairs must run through the model; activations that are scaled for each token
            while serving need none.
        encoders: whether encoders may use it.
        cpu: how vLLM serves it on a CPU.
        hopper: how vLLM serves it on a Hopper GPU (H100, H200).
        blackwell: how vLLM serves it on a Blackwell GPU (B200).
        explanation: one line for people who choose.
        method: the modifier that rounds the weights.
        weights: the preset's weight grid written out, where there are other groups than the preset's.
        smooths: the norms of a decoder layer that hand part of their scale to the layers that read them, and those
            layers, by the ends of their names.

    Example:
        >>> scheme_named("int8").preset
        'W8A8'
    """

    name: str
    preset: str
    groups: tuple[int, ...]
    outputs: int
    needs_calibration: bool
    encoders: bool
    cpu: str
    hopper: str
    blackwell: str
    explanation: str
    method: Literal["QuantizationModifier", "GPTQModifier"] = "QuantizationModifier"
    weights: dict[str, Any] = field(default_factory=dict)
    smooths: tuple[tuple[str, tuple[str, ...]], ...] = ()

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
            arguments = {**layers, "scheme": self.preset, "ignore": [*ignore]}
        else:
            weights = {**self.weights, "group_size": group}
            arguments = {"config_groups": {"group_0": {**layers, "weights": weights}}, "ignore": [*ignore]}
        rounding = Step(self.method, arguments)
        if not self.smooths:
            return (rounding,)
        mappings = [[[f"re:.*\\.{layer}$" for layer in readers], f"re:.*\\.{norm}$"] for norm, readers in self.smooths]
        return Step("SmoothQuantModifier", {"smoothing_strength": 0.5, "mappings": mappings}), rounding


SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name="int8",
        preset="W8A8",
        groups=(1,),
        outputs=1,
        needs_calibration=False,
        encoders=True,
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
        explanation="8-bit integers: weights scaled per output channel, activations per token; the one for CPUs",
    ),
    Scheme(
        name="int8-smoothquant",
        preset="W8A8",
        groups=(1,),
        outputs=1,
        needs_calibration=True,
        encoders=False,
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
        explanation="int8 after the activations' outliers were moved into the weights (SmoothQuant, Xiao et al. 2022)",
        smooths=(
            ("input_layernorm", ("q_proj", "k_proj", "v_proj")),
            ("post_attention_layernorm", ("gate_proj", "up_proj")),
        ),
    ),
    Scheme(
        name="w4a16-gptq",
        preset="W4A16",
        # 128 is the preset's; Machete takes 64 and 128, Marlin 32 too, the CPU's kernel any even number.
        groups=(128, 64, 32),
        outputs=32,
        needs_calibration=True,
        encoders=True,
        cpu="native, 4-bit weights and 16-bit activations",
        hopper="native, 4-bit weights and 16-bit activations (Machete; Marlin for groups of 32)",
        blackwell="native, 4-bit weights and 16-bit activations (Marlin)",
        explanation="4-bit integers in groups, each rounded so that it makes up for the ones before it (GPTQ, Frantar et al. 2022)",
        method="GPTQModifier",
        weights={"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"},
    ),
    Scheme(
        name="fp8",
        preset="FP8_DYNAMIC",
        groups=(1,),
        outputs=1,
        needs_calibration=False,
        encoders=True,
        cpu="right but very slow; native where the CPU multiplies 8-bit floats (AMX-FP8)",
        hopper="native",
        blackwell="native",
        explanation="8-bit floats (E4M3): weights scaled per output channel, activations per token; the one for GPUs",
    ),
    Scheme(
        name="fp8-block",
        preset="FP8_BLOCK",
        # Activations share scales in groups of 128, so inputs must be multiples; vLLM refuses blocks that straddle two of
        # the matrices that it joins (queries, keys and values; gate and up), so outputs must be too.
        groups=(128,),
        outputs=128,
        needs_calibration=False,
        encoders=True,
        cpu="8-bit weights, 16-bit activations, only with AMX (Sapphire Rapids or newer)",
        hopper="native (DeepGEMM, CUTLASS)",
        blackwell="native (DeepGEMM, CUTLASS)",
        explanation="8-bit floats scaled in blocks of 128×128, activations in groups of 128: finer than fp8, for wide models",
    ),
    Scheme(
        name="nvfp4",
        preset="NVFP4",
        groups=(16,),
        outputs=1,
        needs_calibration=True,
        encoders=True,
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations",
        explanation="4-bit floats in groups of 16 with 8-bit scales, activations too: the 4-bit format of Blackwell",
    ),
    Scheme(
        name="mxfp4",
        preset="MXFP4",
        groups=(32,),
        outputs=1,
        needs_calibration=False,
        encoders=True,
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations (with FlashInfer; else Marlin)",
        explanation="4-bit floats in groups of 32 that share a power of two: a quarter of the size, the least exact",
    ),
    Scheme(
        name="mxfp4a16",
        preset="MXFP4A16",
        groups=(32,),
        outputs=1,
        needs_calibration=False,
        encoders=True,
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        # vLLM makes one linear method of both presets, and hands it no word about the activations.
        blackwell="as mxfp4: vLLM 0.32 rounds the activations to 4 bits as well (with FlashInfer; else Marlin)",
        explanation="the weights of mxfp4 with activations left as they are: what Hopper makes of mxfp4 anyway",
    ),
)


def scheme_named(name: str) -> Scheme:
    """Return the scheme of this name.

    Raises:
        BadInput: there is none; the message lists them.

    Example:
        >>> scheme_named("mxfp4").groups
        (32,)
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    raise BadInput(f"there is no quantization scheme {name!r}; choose one of {', '.join(s.name for s in SCHEMES)}")
