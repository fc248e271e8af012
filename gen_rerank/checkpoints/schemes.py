"""The quantization schemes: what each is, where the result runs, and what it asks of a model's layers.

One table, for whatever trains, quantizes or serves. How a scheme is applied to a model is in `quant`. What it says of
a CPU, of Hopper and of Blackwell is read in the kernel tables of vLLM 0.32; `gen-rerank doctor` shows it beside vLLM's
own answer on the machine at hand. All schemes leave the embeddings, the norms and the readout in bfloat16 (SmoothQuant
rescales norms): eleven rows cost nothing, and a quantized readout is the field's best known way to scores that are
stuck at 0, 0.5 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gen_rerank.errors import BadInput


@dataclass(frozen=True)
class SchemeInfo:
    """What people want to know of a scheme before they choose it.

    Attributes:
        name: what people type.
        preset: compressed-tensors' name for it.
        explanation: one line for people who choose.
        cpu: how vLLM serves it on a CPU.
        hopper: how vLLM serves it on a Hopper GPU (H100, H200).
        blackwell: how vLLM serves it on a Blackwell GPU (B200).

    Example:
        >>> scheme_named("int8").runs_on
        'CPU: native and fast; Hopper: native; Blackwell: no kernel, use fp8'
    """

    name: str
    preset: str
    explanation: str
    cpu: str
    hopper: str
    blackwell: str

    @property
    def runs_on(self) -> str:
        """Where the result runs, in one line."""
        return f"CPU: {self.cpu}; Hopper: {self.hopper}; Blackwell: {self.blackwell}"


@dataclass(frozen=True)
class Scheme(SchemeInfo):
    """One way to quantize: what people want to know of it, and what it asks of a model.

    Attributes:
        groups: weights share a scale in groups of this many along a layer's input, so its size must be a multiple; the
            first that divides every layer's is taken. 1 where any size will do.
        outputs: every layer's output size must be a multiple of this.
        needs_examples: whether example pairs must run through the model; activations that are scaled for each token
            while serving need none.
        encoders: whether encoders may use it.
        rounding: to the nearest point of the grid, or by GPTQ, which makes up for the errors before.
        smooths: the norms of a decoder layer that hand part of their scale to the layers that read them, and those
            layers, by the ends of their names.
    """

    groups: tuple[int, ...] = (1,)
    outputs: int = 1
    needs_examples: bool = False
    encoders: bool = True
    rounding: Literal["nearest", "gptq"] = "nearest"
    smooths: tuple[tuple[str, tuple[str, ...]], ...] = ()


SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name="int8",
        preset="W8A8",
        explanation="8-bit integers: weights scaled per output channel, activations per token; the one for CPUs",
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
    ),
    Scheme(
        name="int8-smoothquant",
        preset="W8A8",
        explanation="int8 after the activations' outliers were moved into the weights (SmoothQuant, Xiao et al. 2022)",
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
        needs_examples=True,
        encoders=False,
        smooths=(
            ("input_layernorm", ("q_proj", "k_proj", "v_proj")),
            ("post_attention_layernorm", ("gate_proj", "up_proj")),
        ),
    ),
    Scheme(
        name="w4a16-gptq",
        preset="W4A16",
        explanation="4-bit integers in groups, each rounded so that it makes up for the ones before it "
        "(GPTQ, Frantar et al. 2022)",
        cpu="native, 4-bit weights and 16-bit activations",
        hopper="native, 4-bit weights and 16-bit activations (Machete; Marlin for groups of 32)",
        blackwell="native, 4-bit weights and 16-bit activations (Marlin)",
        # 128 is the preset's; Machete takes 64 and 128, Marlin 32 too, the CPU's kernel any even number.
        groups=(128, 64, 32),
        outputs=32,
        needs_examples=True,
        rounding="gptq",
    ),
    Scheme(
        name="fp8",
        preset="FP8_DYNAMIC",
        explanation="8-bit floats (E4M3): weights scaled per output channel, activations per token; the one for GPUs",
        cpu="right but very slow; native where the CPU multiplies 8-bit floats (AMX-FP8)",
        hopper="native",
        blackwell="native",
    ),
    Scheme(
        name="fp8-block",
        preset="FP8_BLOCK",
        explanation="8-bit floats scaled in blocks of 128×128, activations in groups of 128: finer than fp8, "
        "for wide models",
        cpu="8-bit weights, 16-bit activations, only with AMX (Sapphire Rapids or newer)",
        hopper="native (DeepGEMM, CUTLASS)",
        blackwell="native (DeepGEMM, CUTLASS)",
        # Activations share scales in groups of 128, so inputs must be multiples; vLLM refuses blocks that straddle two
        # of the matrices that it joins (queries, keys and values; gate and up), so outputs must be too.
        groups=(128,),
        outputs=128,
    ),
    Scheme(
        name="nvfp4",
        preset="NVFP4",
        explanation="4-bit floats in groups of 16 with 8-bit scales, activations too: the 4-bit format of Blackwell",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations",
        groups=(16,),
        needs_examples=True,
    ),
    Scheme(
        name="mxfp4",
        preset="MXFP4",
        explanation="4-bit floats in groups of 32 that share a power of two: a quarter of the size, the least exact",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations (with FlashInfer; else Marlin)",
        groups=(32,),
    ),
    Scheme(
        name="mxfp4a16",
        preset="MXFP4A16",
        explanation="the weights of mxfp4 with activations left as they are: what Hopper makes of mxfp4 anyway",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        # vLLM makes one linear method of both presets, and hands it no word about the activations.
        blackwell="as mxfp4: vLLM 0.32 rounds the activations to 4 bits as well (with FlashInfer; else Marlin)",
        groups=(32,),
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
