"""Bin rows that start where a yes/no reranker stands.

Such a model answers by the logits of two tokens. A row between theirs, (1 − c) · w_no + c · w_yes for the bin worth
c, gives a logit between theirs. With d = logit(yes) − logit(no), the bins' distribution is softmax(d · c): its mean
is 1/2 at d = 0 and grows with d, as does P(yes) = sigmoid(d). So the first forward pass ranks as the yes/no model
does, given the same prompt. Loading is left to `bases`.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES
from gen_rerank.checkpoints.folders import single_token_id


@torch.no_grad()
def start_between(model: PreTrainedModel, tokenizer: Tokenizer, no: str, yes: str) -> None:
    """Set the bin tokens' rows of the output matrix between those of the answers `no` and `yes`.

    The order is exact in float32; rows of bfloat16 are rounded, so that near ties may swap.

    Args:
        model: whose output matrix `[vocabulary, hidden]` has rows for the bin tokens; tied to the input or not.
        tokenizer: the model's, with the bin tokens.
        no: the token that says "not relevant", worth 0.
        yes: the token that says "relevant", worth 1.

    Raises:
        BadInput: `no` or `yes` is not a single token of this tokenizer.

    Example:
        >>> start_between(model, tokenizer.backend_tokenizer, "no", "yes")  # doctest: +SKIP
    """
    rows = model.get_output_embeddings().weight
    rows[[single_token_id(tokenizer, token) for token in BIN_TOKENS]] = rows_between(model, tokenizer, no, yes).to(
        rows.dtype
    )


@torch.no_grad()
def rows_between(model: PreTrainedModel, tokenizer: Tokenizer, no: str, yes: str) -> torch.Tensor:
    """Return the eleven rows `[11, hidden]`, in float32, that lie between those of the answers `no` and `yes`.

    Raises:
        BadInput: `no` or `yes` is not a single token of this tokenizer.
    """
    no_id, yes_id = single_token_id(tokenizer, no), single_token_id(tokenizer, yes)
    rows = model.get_output_embeddings().weight
    worth = torch.tensor(BIN_VALUES, dtype=torch.float32, device=rows.device)[:, None]
    return torch.lerp(rows[no_id].float(), rows[yes_id].float(), worth)
