"""The quantization schemes: what each does to a decoder's linear layers, and where the result runs.

A table and nothing else: `quant.quantize` applies a scheme, the serving documentation and `gen-rerank doctor` print it.
All schemes leave the embeddings, the norms and the readout in bfloat16: eleven rows cost nothing, and a quantized readout
is the field's best known way to scores that are stuck at 0, 0.5 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from gen_rerank.errors import BadInput


@dataclass(frozen=True)
class Scheme:
    """One way to quantize.

    Attributes:
        name: what people type.
        preset: llm-compressor's name for it.
        needs_calibration: whether example data must run through the model; activations that are scaled for each token
            while serving need none.
        group: weights and activations share a scale in groups of this many, so every layer's input size must be a
            multiple; 1 where any size will do.
        cpu: how vLLM serves it on a CPU.
        hopper: how vLLM serves it on a Hopper GPU (H100, H200).
        blackwell: how vLLM serves it on a Blackwell GPU (B200).
        explanation: one line for people who choose.

    Example:
        >>> scheme_named("int8").preset
        'W8A8'
    """

    name: str
    preset: str
    needs_calibration: bool
    group: int
    cpu: str
    hopper: str
    blackwell: str
    explanation: str


SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name="int8",
        preset="W8A8",
        needs_calibration=False,
        group=1,
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
        explanation="8-bit integers: weights scaled per output channel, activations per token; the one for CPUs",
    ),
    Scheme(
        name="fp8",
        preset="FP8_DYNAMIC",
        needs_calibration=False,
        group=1,
        cpu="right but very slow",
        hopper="native",
        blackwell="native",
        explanation="8-bit floats (E4M3): weights scaled per output channel, activations per token; the one for GPUs",
    ),
    Scheme(
        name="mxfp4",
        preset="MXFP4",
        needs_calibration=False,
        group=32,
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations",
        explanation="4-bit floats in groups of 32 that share a power of two: a quarter of the size, the least exact",
    ),
)


def scheme_named(name: str) -> Scheme:
    """Return the scheme of this name.

    Raises:
        BadInput: there is none; the message lists them.

    Example:
        >>> scheme_named("mxfp4").group
        32
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    raise BadInput(f"there is no quantization scheme {name!r}; choose one of {', '.join(s.name for s in SCHEMES)}")
