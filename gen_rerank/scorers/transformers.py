"""The reference backend: plain transformers, float32 on a CPU unless asked otherwise, one forward pass a batch.

Pairs are sorted by length and batched by a token budget, so that little is padded. Padding is on the right, where a
causal model never looks from the last real position. Of a decoder only that position is kept, and only the readout
rows of the output matrix are multiplied, in float32: the vocabulary's logits never exist. An encoder looks both ways,
so it gets an attention mask, and answers through its own head. A LoRA adapter is put on by PEFT, beside the weights and
not into them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.scorers.scorer import Advance, TokenScorer, unwatched

# A file cut short, other shapes, an unknown architecture, a field of another type, a scheme that needs a package …
_UNLOADABLE = (
    SafetensorError, StrictDataclassError, OSError, ValueError, RuntimeError, ImportError,
    LookupError, AttributeError, TypeError, ArithmeticError,
)  # fmt: skip


@dataclass
class DecoderNetwork:
    """Reads rows of the output matrix, `[k, hidden]`, at the last real position.

    The product is float32, as that of vLLM's head: in bfloat16 a logit of 10 has steps of 0.06, and products would tie.
    """

    backbone: PreTrainedModel
    rows: Tensor

    def logits(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits `[b, k]` of right-padded tokens `[b, t]` with `lengths` `[b]`."""
        hidden = self.backbone(input_ids=tokens, use_cache=False).last_hidden_state
        return hidden[torch.arange(len(tokens), device=tokens.device), lengths - 1].float() @ self.rows.float().T

    def ready(self, device: torch.device) -> DecoderNetwork:
        """Return it on a device, and as it answers when it is not trained."""
        return DecoderNetwork(self.backbone.to(device).eval(), self.rows.to(device))


@dataclass
class EncoderNetwork:
    """Reads the labels of a sequence classifier."""

    model: PreTrainedModel

    def logits(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits `[b, k]` of right-padded tokens `[b, t]` with `lengths` `[b]`."""
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        return self.model(input_ids=tokens, attention_mask=mask.long()).logits

    def ready(self, device: torch.device) -> EncoderNetwork:
        """Return it on a device, and as it answers when it is not trained."""
        return EncoderNetwork(self.model.to(device).eval())


Network = DecoderNetwork | EncoderNetwork


class TransformersScorer(TokenScorer):
    """Scores pairs with a checkpoint in this process.

    Args:
        checkpoint: a decoder with a `bins` or `yes_no` readout, or an encoder with a `classifier`.
        adapter: a LoRA adapter of that decoder.
        dtype: of the weights; float32 on a CPU and bfloat16 on a GPU unless given.
        batch_tokens: the most tokens, padding included, in one forward pass.
        network: what reads the checkpoint, where somebody else has loaded it; `adapter` and `dtype` mean nothing then.

    Example:
        >>> TransformersScorer(Checkpoint.open("runs/demo/model")).score(pairs).mean  # doctest: +SKIP
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        adapter: Adapter | None = None,
        *,
        dtype: torch.dtype | None = None,
        batch_tokens: int = 8192,
        network: Network | None = None,
    ) -> None:
        """Load the weights."""
        self.checkpoint = checkpoint if adapter is None else adapter.applied(checkpoint)
        self.batch_tokens = batch_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network or _open_network(checkpoint, adapter, dtype or default_torch_dtype(), self.device)

    def token_logits(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Floats:
        """Return the logits `[n, k]` of prompts that are already token ids, on which no calibration has acted."""
        logits = np.zeros((len(encoded), len(self.checkpoint.card.readout.values)), dtype=np.float32)
        for batch in length_batches([len(ids) for ids in encoded], self.batch_tokens):
            logits[batch] = self.logits([encoded[i] for i in batch]).float().cpu().numpy()
            advance(len(batch))
        return logits

    @torch.inference_mode()
    def logits(self, encoded: Sequence[list[int]]) -> Tensor:
        """Return the logits `[n, k]` of n prompts that are already token ids, in one forward pass."""
        lengths = torch.tensor([len(ids) for ids in encoded])
        tokens = torch.zeros(len(encoded), int(lengths.max()), dtype=torch.long)
        for row, ids in enumerate(encoded):
            tokens[row, : len(ids)] = torch.tensor(ids)
        return self.network.logits(tokens.to(self.device), lengths.to(self.device))

    def close(self) -> None:
        """Do nothing: the model goes with this object."""


def default_torch_dtype() -> torch.dtype:
    """Return what weights are read in unless somebody asks for another: float32 on a CPU, bfloat16 on a GPU."""
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def model_class(readout: Readout) -> Any:
    """Return the class of transformers that opens a checkpoint with this readout."""
    return AutoModelForSequenceClassification if readout.kind == "classifier" else AutoModelForCausalLM


def network_of(model: PreTrainedModel, readout: Readout) -> Network:
    """Return what reads a loaded model: an encoder's own head, or the readout's rows of a decoder's output matrix."""
    if readout.kind == "classifier":
        return EncoderNetwork(model)
    rows = model.get_output_embeddings().weight[list(readout.token_ids)].detach()
    return DecoderNetwork(model.get_decoder(), rows)


def _open_network(checkpoint: Checkpoint, adapter: Adapter | None, dtype: torch.dtype, device: torch.device) -> Network:
    readout = checkpoint.card.readout
    model = load_model(model_class(readout), checkpoint, dtype)
    network = network_of(model, readout)
    if adapter is not None:
        from peft import PeftModel

        # It puts the matrices into the layers of `model` itself.
        PeftModel.from_pretrained(model, str(adapter.folder), autocast_adapter_dtype=False)
    return network.ready(device)


def load_model(auto_class: Any, checkpoint: Checkpoint, dtype: torch.dtype) -> PreTrainedModel:
    """Return the model of a checkpoint as every score of this backend reads it, its weights decompressed if need be.

    Left compressed, those of a quantized one would be decompressed by the first call of the model's `forward`, which a
    scorer never makes: it calls the decoder inside. Decompressed, a layer has exactly the weights that the file
    encodes, and still rounds its input to the scheme's grid in every call (compressed-tensors' `quantized_forward`), as
    low-precision kernels do.

    Args:
        auto_class: of transformers, such as `AutoModelForCausalLM`.
        checkpoint: plain, or quantized by compressed-tensors.
        dtype: of the weights.

    Raises:
        BadInput: the files hold no such model.

    Example:
        >>> load_model(AutoModelForCausalLM, Checkpoint.open("runs/demo/model-int8"), torch.float32)  # doctest: +SKIP
    """
    stored = checkpoint.config.get("quantization_config") or {}
    compressed = stored.get("quant_method") == "compressed-tensors"
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder)
        if compressed:
            config.quantization_config = {**stored, "dequantize": True}
        with without_bars(), _packed_layers_left_alone() if compressed else nullcontext():
            model = auto_class.from_pretrained(checkpoint.folder, config=config, dtype=dtype)
    except _UNLOADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{checkpoint.folder}: the weights cannot be loaded ({reason})") from error
    # MXFP4 decompresses to bfloat16, whatever the dtype asked for; the cast is exact.
    return model.to(dtype) if compressed else model


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep off the terminal the bar with which transformers opens weights; commands print their own progress."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def _packed_layers_left_alone() -> Iterator[None]:
    """Keep transformers from giving first values to modules whose layers hold packed weights, which come from the file.

    ModernBERT's initialization asks such a layer for a `weight`, and while a packed checkpoint is loaded it has none.
    """
    initialize = PreTrainedModel._initialize_weights

    def initialize_others(model: PreTrainedModel, module: nn.Module, *rest: Any) -> None:
        if not any("weight_packed" in child._parameters for child in module.children()):
            initialize(model, module, *rest)

    PreTrainedModel._initialize_weights = initialize_others
    try:
        yield
    finally:
        PreTrainedModel._initialize_weights = initialize


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices, longest first, with at most `batch_tokens` padded tokens each (one item at least).

    Example:
        >>> list(length_batches([2, 9, 3], batch_tokens=9))
        [[1], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
