"""How bitsandbytes quantizes a model while it is loaded: the settings of NF4 and int8, and one kernel to avoid.

Training starts from such a base (QLoRA), and a comparison shows what loading this way costs. What is loaded, and what
for, is theirs to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from bitsandbytes.nn import Linear4bit
from torch import nn
from transformers import BitsAndBytesConfig

LoadedAs = Literal["nf4", "int8"]


def loading_settings(kind: LoadedAs, compute: torch.dtype, skipped: Sequence[str] | None = None) -> BitsAndBytesConfig:
    """Return what transformers is told, and keep bitsandbytes from speaking at every product of matrices.

    Args:
        kind: `nf4`: 4-bit NormalFloat, its scales quantized too (Dettmers et al. 2023, "QLoRA", arXiv 2305.14314);
            `int8`: LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339).
        compute: what 4-bit weights are unpacked to.
        skipped: patterns of the layers that stay as they are; the library's own choice by default.
    """
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # it casts to float16, and says so
    skip = None if skipped is None else list(skipped)
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=skip,
    )


def limit_packed_kernel(model: nn.Module, fits: Callable[[Linear4bit], bool] = lambda layer: False) -> None:
    """Let 4-bit layers use bitsandbytes' packed kernel for CPUs with AVX512-BF16 only where it fits.

    At the first evaluation the library packs the weights for it. It has no backward pass, so training would get no
    gradient through the layer from then on; it computes in bfloat16 whatever was asked for; and it stops at some sizes.

    Args:
        model: that was just loaded.
        fits: says of a layer whether the kernel may serve it; of none by default.
    """
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = layer.support_avx512bf16_for_cpu and fits(layer)
