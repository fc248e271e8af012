"""Quantization while loading: a full-precision checkpoint that bitsandbytes turns into NF4 or int8 in memory.

There is no second folder: disk and identity are the checkpoint's own, memory and scores are not. This is what people
try first, so a comparison shows it beside the checkpoints that llm-compressor wrote. The readout stays in the dtype
asked for.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import torch
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig, PreTrainedModel

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.weights import READOUT_MODULES
from gen_rerank.errors import BadInput
from gen_rerank.scorers.transformers import TransformersScorer, _Decoder, _Encoder

LoadTime = Literal["nf4", "int8"]

# transformers takes patterns of the beginning of a layer's name; the readout is known by any part of it.
_READOUT = [rf"(.*\.)?{name}(\.|$)" for name in READOUT_MODULES]

# What bitsandbytes' packed kernel for CPUs with AVX512-BF16 asks of a layer's output size.
_PACKED_ROWS = 32


class LoadTimeScorer(TransformersScorer):
    """Scores pairs with a checkpoint whose linear layers bitsandbytes quantizes while they are loaded.

    Args:
        checkpoint: in full precision.
        kind: `nf4`: 4-bit NormalFloat with quantized scales (Dettmers et al. 2023, arXiv 2305.14314); `int8`:
            LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339).
        dtype: of activations and of what is not quantized; float32 on a CPU and bfloat16 on a GPU unless given.
        batch_tokens: the most tokens, padding included, in one forward pass.
    """

    def __init__(
        self, checkpoint: Checkpoint, kind: LoadTime, *, dtype: torch.dtype | None = None, batch_tokens: int = 8192
    ) -> None:
        """Load and quantize the weights."""
        self.checkpoint = checkpoint
        self.batch_tokens = batch_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or (torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        if checkpoint.card.readout.kind == "classifier":
            self.network = _Encoder(_load(AutoModelForSequenceClassification, checkpoint, kind, dtype))
        else:
            model = _load(AutoModelForCausalLM, checkpoint, kind, dtype)
            rows = model.get_output_embeddings().weight[list(checkpoint.card.readout.token_ids)].detach()
            self.network = _Decoder(model.get_decoder(), rows)


def open_load_time(checkpoint: Checkpoint, kind: str, dtype: torch.dtype | None = None) -> LoadTimeScorer:
    """Open a checkpoint quantized by bitsandbytes.

    Args:
        checkpoint: in full precision.
        kind: `nf4` or `int8`.
        dtype: of activations; float32 on a CPU and bfloat16 on a GPU unless given.

    Raises:
        BadInput: no such kind, a checkpoint that is quantized already, or bitsandbytes cannot load it here.

    Example:
        >>> open_load_time(Checkpoint.open("runs/demo/model"), "nf4").score(pairs).mean  # doctest: +SKIP
    """
    if kind not in get_args(LoadTime):
        raise BadInput(
            f"there is no quantization {kind!r} while loading; choose one of {', '.join(get_args(LoadTime))}"
        )
    if checkpoint.is_quantized:
        raise BadInput(f"{checkpoint.folder}: already quantized; {kind} while loading needs it in full precision")
    try:
        return LoadTimeScorer(checkpoint, "nf4" if kind == "nf4" else "int8", dtype=dtype)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{checkpoint.folder}: bitsandbytes cannot load it as {kind} here ({reason})") from error


def _load(auto_class: Any, checkpoint: Checkpoint, kind: LoadTime, dtype: torch.dtype) -> PreTrainedModel:
    """Return the quantized model, on the device that bitsandbytes chooses: the GPU if there is one."""
    # It says at every product of matrices that it casts to float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    settings = _nf4(dtype) if kind == "nf4" else BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_READOUT)
    model = auto_class.from_pretrained(checkpoint.folder, dtype=dtype, quantization_config=settings).eval()
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # The packed kernel computes in bfloat16, so it is for those who asked for that; and it stops at other
            # sizes.
            fits = dtype == torch.bfloat16 and layer.out_features % _PACKED_ROWS == 0
            layer.support_avx512bf16_for_cpu = layer.support_avx512bf16_for_cpu and fits
    return model


def _nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_READOUT,
    )
