"""Quantization while loading: a full-precision checkpoint that bitsandbytes turns into NF4 or int8 in memory.

There is no second folder: disk and identity are the checkpoint's own, memory and scores are not. This is what people
try first, so a comparison shows it beside the checkpoints that llm-compressor wrote. The readout stays in the dtype
asked for.
"""

from __future__ import annotations

from typing import get_args

import torch
from bitsandbytes.nn import Linear4bit
from transformers import PreTrainedModel

from gen_rerank.checkpoints.bitsandbytes import LoadedAs, limit_packed_kernel, loading_settings
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.weights import READOUT_MODULES
from gen_rerank.errors import BadInput
from gen_rerank.scorers.transformers import TransformersScorer, default_torch_dtype, model_class, network_of

# transformers takes patterns of the beginning of a layer's name; the readout is known by any part of it.
_READOUT = [rf"(.*\.)?{name}(\.|$)" for name in READOUT_MODULES]

# What bitsandbytes' packed kernel for CPUs with AVX512-BF16 asks of a layer's output size.
_PACKED_ROWS = 32


def open_loaded_as(checkpoint: Checkpoint, kind: str, dtype: torch.dtype | None = None) -> TransformersScorer:
    """Open a checkpoint whose linear layers bitsandbytes quantizes while they are loaded.

    Args:
        checkpoint: in full precision.
        kind: `nf4` or `int8`; `gen_rerank.checkpoints.bitsandbytes` says what they are.
        dtype: of activations and of what is not quantized; float32 on a CPU and bfloat16 on a GPU unless given.

    Raises:
        BadInput: no such kind, a checkpoint that is quantized already, or bitsandbytes cannot load it here.

    Example:
        >>> open_loaded_as(Checkpoint.open("runs/demo/model"), "nf4").score(pairs).mean  # doctest: +SKIP
    """
    known = {name: name for name in get_args(LoadedAs)}
    if kind not in known:
        raise BadInput(f"there is no quantization {kind!r} while loading; choose one of {', '.join(known)}")
    if checkpoint.is_quantized:
        raise BadInput(f"{checkpoint.folder}: already quantized; {kind} while loading needs it in full precision")
    try:
        model = _load(checkpoint, known[kind], dtype or default_torch_dtype())
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{checkpoint.folder}: bitsandbytes cannot load it as {kind} here ({reason})") from error
    return TransformersScorer(checkpoint, network=network_of(model, checkpoint.card.readout))


def _load(checkpoint: Checkpoint, kind: LoadedAs, dtype: torch.dtype) -> PreTrainedModel:
    """Return the quantized model, on the device that bitsandbytes chooses: the GPU if there is one."""
    settings = loading_settings(kind, dtype, _READOUT)
    auto_class = model_class(checkpoint.card.readout)
    model = auto_class.from_pretrained(checkpoint.folder, dtype=dtype, quantization_config=settings).eval()

    def fits(layer: Linear4bit) -> bool:
        """It computes in bfloat16, so it is for those who asked for that; and it stops at other sizes."""
        return bool(dtype == torch.bfloat16 and layer.out_features % _PACKED_ROWS == 0)

    limit_packed_kernel(model, fits)
    return model
