"""The quantization schemes by name: what each is, compressed-tensors' preset of it, and where the result runs.

A table and nothing else, for whatever trains, quantizes or serves. How a scheme is applied to a model is in `quant.schemes`.
What it says of a CPU, of Hopper and of Blackwell is read in the kernel tables of vLLM 0.32; `gen-rerank doctor` shows it beside
vLLM's own answer on the machine at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        >>> scheme_info("int8").runs_on
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


SCHEMES: tuple[SchemeInfo, ...] = (
    SchemeInfo(
        name="int8",
        preset="W8A8",
        explanation="8-bit integers: weights scaled per output channel, activations per token; the one for CPUs",
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
    ),
    SchemeInfo(
        name="int8-smoothquant",
        preset="W8A8",
        explanation="int8 after the activations' outliers were moved into the weights (SmoothQuant, Xiao et al. 2022)",
        cpu="native and fast",
        hopper="native",
        blackwell="no kernel, use fp8",
    ),
    SchemeInfo(
        name="w4a16-gptq",
        preset="W4A16",
        explanation="4-bit integers in groups, each rounded so that it makes up for the ones before it (GPTQ, Frantar et al. 2022)",
        cpu="native, 4-bit weights and 16-bit activations",
        hopper="native, 4-bit weights and 16-bit activations (Machete; Marlin for groups of 32)",
        blackwell="native, 4-bit weights and 16-bit activations (Marlin)",
    ),
    SchemeInfo(
        name="fp8",
        preset="FP8_DYNAMIC",
        explanation="8-bit floats (E4M3): weights scaled per output channel, activations per token; the one for GPUs",
        cpu="right but very slow; native where the CPU multiplies 8-bit floats (AMX-FP8)",
        hopper="native",
        blackwell="native",
    ),
    SchemeInfo(
        name="fp8-block",
        preset="FP8_BLOCK",
        explanation="8-bit floats scaled in blocks of 128×128, activations in groups of 128: finer than fp8, for wide models",
        cpu="8-bit weights, 16-bit activations, only with AMX (Sapphire Rapids or newer)",
        hopper="native (DeepGEMM, CUTLASS)",
        blackwell="native (DeepGEMM, CUTLASS)",
    ),
    SchemeInfo(
        name="nvfp4",
        preset="NVFP4",
        explanation="4-bit floats in groups of 16 with 8-bit scales, activations too: the 4-bit format of Blackwell",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations",
    ),
    SchemeInfo(
        name="mxfp4",
        preset="MXFP4",
        explanation="4-bit floats in groups of 32 that share a power of two: a quarter of the size, the least exact",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        blackwell="native, 4-bit weights and activations (with FlashInfer; else Marlin)",
    ),
    SchemeInfo(
        name="mxfp4a16",
        preset="MXFP4A16",
        explanation="the weights of mxfp4 with activations left as they are: what Hopper makes of mxfp4 anyway",
        cpu="no kernel",
        hopper="4-bit weights, 16-bit activations (Marlin)",
        # vLLM makes one linear method of both presets, and hands it no word about the activations.
        blackwell="as mxfp4: vLLM 0.32 rounds the activations to 4 bits as well (with FlashInfer; else Marlin)",
    ),
)


def scheme_info(name: str) -> SchemeInfo:
    """Return the scheme of this name.

    Raises:
        BadInput: there is none; the message lists them.

    Example:
        >>> scheme_info("mxfp4").preset
        'MXFP4'
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    raise BadInput(f"there is no quantization scheme {name!r}; choose one of {', '.join(s.name for s in SCHEMES)}")
