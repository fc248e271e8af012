"""A tiny Qwen3 from nothing, which gradient descent can teach to match words within minutes.

Attention starts where a token finds its twin; without that a model of this size learns it much later or not at all. Its
tokenizer is `tokenizer`'s. Training it is elsewhere, and so is the packaged base, which `nano_base` made with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from gen_rerank.bins import BIN_TOKENS
from train.ranges import Count, Positive, Share, Vocabulary, require_model
from train.tokenizer import train_tokenizer


@dataclass(frozen=True)
class NanoShape:
    """The shape of a base that is trained from nothing.

    Attributes:
        vocabulary: the most tokens, bin and control tokens included.
        hidden: width of the residual stream.
        layers: decoder layers.
        heads: attention heads (as many for keys and values), `hidden / heads` wide.
        mlp: width of the feed-forward layers.
        rope_theta: base of the rotary position encoding.
        twin_noise: share of independent noise in the keys' projections; 0 makes them equal to the queries'.
        embedding_std: of the embeddings; the bin rows, which are read and never embedded, start at the library's 0.02.
    """

    vocabulary: Vocabulary = 2048
    hidden: Count = 128
    layers: Count = 4
    heads: Count = 4
    mlp: Count = 384
    rope_theta: Positive = 1e6
    twin_noise: Share = 0.3
    embedding_std: Positive = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that make no model, or one that nothing could be learned with from nothing."""
        require_model(self.hidden, self.layers, self.mlp, self.heads, self.vocabulary)


def new_base(texts: Iterable[str], shape: NanoShape, folder: str | Path, *, seed: int = 0) -> Path:
    """Write a tiny Qwen3 with random weights and a tokenizer trained on `texts`.

    Each head's key projection starts close to its query projection, so that a token attends to its twin from the first
    step (mimetic initialisation: Trockman & Kolter, "Mimetic Initialization of Self-Attention Layers", ICML 2023).
    Without it a model of this size does not learn in minutes that a word of the query stands in the product.

    Returns:
        the folder, which transformers, PEFT and vLLM open without our code.

    Example:
        >>> new_base(["oak desk"], NanoShape(layers=2), "runs/base")  # doctest: +SKIP
        PosixPath('runs/base')
    """
    folder = Path(folder)
    tokenizer = train_tokenizer(texts, shape.vocabulary)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.hidden // shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    _make_matchable(model, shape, tokenizer.convert_tokens_to_ids(list(BIN_TOKENS)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def _make_matchable(model: Qwen3ForCausalLM, shape: NanoShape, bin_ids: list[int]) -> None:
    """Start as a model in which a token finds its twin: in every layer, and by its identity alone."""
    embeddings: Tensor = model.model.embed_tokens.weight
    rows = embeddings[bin_ids].clone()
    embeddings.normal_(0.0, shape.embedding_std)
    embeddings[bin_ids] = rows
    for layer in model.model.layers:
        attention = layer.self_attn
        query: Tensor = attention.q_proj.weight
        query.normal_(0.0, query.shape[1] ** -0.5)
        fresh = torch.randn_like(query) * query.shape[1] ** -0.5
        attention.k_proj.weight.copy_(query * (1 - shape.twin_noise**2) ** 0.5 + fresh * shape.twin_noise)
        # Nothing is added to the stream at first: random additions would drown the embeddings that are compared.
        attention.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
