"""The reference backend: plain transformers, float32 on a CPU, one forward pass a batch.

Pairs are sorted by length and batched by a token budget, so that little is padded. Padding is on the right, where a causal
model never looks from the last real position. Only that position is kept, and only the readout rows of the
output matrix are multiplied: the vocabulary's logits never exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from gen_rerank.bins import Distribution
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.records import Pair


class TransformersScorer:
    """Scores pairs with a checkpoint in this process.

    Args:
        checkpoint: a `bins` or `yes_no` decoder.
        dtype: of the weights; float32 on a CPU and bfloat16 on a GPU unless given.
        batch_tokens: the most tokens, padding included, in one forward pass.

    Example:
        >>> TransformersScorer(Checkpoint.open("runs/demo/model")).score(pairs).mean  # doctest: +SKIP
    """

    def __init__(self, checkpoint: Checkpoint, *, dtype: torch.dtype | None = None, batch_tokens: int = 8192) -> None:
        """Load the weights."""
        self.checkpoint = checkpoint
        self.batch_tokens = batch_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or (torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        model = _load(checkpoint, dtype)
        self.backbone = model.get_decoder().to(self.device).eval()
        self.rows = (
            model.get_output_embeddings().weight[list(checkpoint.card.readout.token_ids)].detach().to(self.device)
        )

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Distribution:
        """Return one distribution a pair, in order."""
        return self.score_tokens(self.checkpoint.prompt.encode(pairs, instruction=instruction))

    def score_tokens(self, encoded: Sequence[list[int]]) -> Distribution:
        """Return the distributions of prompts that are already token ids."""
        card = self.checkpoint.card
        logits = np.zeros((len(encoded), len(card.readout.values)), dtype=np.float32)
        for batch in length_batches([len(ids) for ids in encoded], self.batch_tokens):
            logits[batch] = self._logits([encoded[i] for i in batch]).float().cpu().numpy()
        return Distribution.from_logits(logits, temperature=card.calibration.temperature, values=card.readout.values)

    @torch.inference_mode()
    def _logits(self, encoded: Sequence[list[int]]) -> Tensor:
        lengths = torch.tensor([len(ids) for ids in encoded])
        tokens = torch.zeros(len(encoded), int(lengths.max()), dtype=torch.long)
        for row, ids in enumerate(encoded):
            tokens[row, : len(ids)] = torch.tensor(ids)
        hidden = self.backbone(input_ids=tokens.to(self.device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(encoded)), lengths - 1]
        return last @ self.rows.T


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> PreTrainedModel:
    """Return the model, with the weights of a quantized one decompressed once.

    Left compressed, they would be decompressed by the first call of the model's `forward`, which a scorer never makes: it
    calls the decoder inside. Decompressed, a layer has exactly the weights that the file encodes, and still rounds its
    input to the scheme's grid in every call (compressed-tensors' `quantized_forward`), as low-precision kernels do.
    """
    config = AutoConfig.from_pretrained(checkpoint.folder)
    stored = checkpoint.config.get("quantization_config", {})
    compressed = stored.get("quant_method") == "compressed-tensors"
    if compressed:
        config.quantization_config = {**stored, "dequantize": True}
    model = AutoModelForCausalLM.from_pretrained(checkpoint.folder, config=config, dtype=dtype)
    # MXFP4 decompresses to bfloat16, whatever the dtype asked for; the cast is exact.
    return model.to(dtype) if compressed else model


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
