"""What training starts from: a model that has the eleven bin tokens.

`load_base` opens any causal language model and gives it the bin tokens; `new_base` makes a tiny Qwen3 from nothing, with
a tokenizer of its own, that gradient descent can teach to match words within minutes. Training itself is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from gen_rerank.bins import BIN_TOKENS
from gen_rerank.checkpoint import read_tokenizer, resolve_folder

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# A word and its colon are one token, and a word is the same token wherever it stands: matching is easier to learn.
_WORDS = Regex(r"[\p{L}\p{M}]+:?|\p{N}{1,4}|[^\s\p{L}\p{M}\p{N}]")


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

    vocabulary: int = 2048
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 384
    rope_theta: float = 1e6
    twin_noise: float = 0.3
    embedding_std: float = 0.1


def new_base(texts: Iterable[str], shape: NanoShape, folder: str | Path, *, seed: int = 0) -> Path:
    """Write a tiny Qwen3 with random weights and a tokenizer trained on `texts`.

    Each head's key projection starts close to its query projection, so that a token attends to its twin from the first
    step (mimetic initialisation: Trockman & Kolter, "Mimetic Initialization of Self-Attention Layers", ICML 2023). Without
    it a model of this size does not learn in minutes that a word of the query stands in the product.

    Returns:
        the folder, which transformers, PEFT and vLLM open without our code.
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


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, lower-cased, whose added tokens are the chat markers and the bin tokens."""
    added = [PAD, START, END, *BIN_TOKENS]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(_WORDS, behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(added),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # After training, so that the ids stand behind the vocabulary and no text can merge into them.
    tokenizer.add_special_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=list(BIN_TOKENS)
    )


def load_base(
    name: str | Path, *, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a causal language model, in `dtype`, and its tokenizer, both with the eleven bin tokens.

    A base that lacks the bin tokens gets them as new rows, which start at the mean of the vocabulary's.

    Args:
        name: a folder, the name of a base that comes with this package (`nano`), or a hub name.
        dtype: of the weights.

    Raises:
        BadInput: no such folder or hub name, or it has no fast tokenizer.
    """
    packaged = Path(str(files("train"))) / "bases" / name
    folder = packaged if packaged.is_dir() and not Path(name).is_dir() else resolve_folder(name)
    read_tokenizer(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    if tokenizer.add_special_tokens({"additional_special_tokens": list(BIN_TOKENS)}):
        needed = max(tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))) + 1
        if needed > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(needed, pad_to_multiple_of=64, mean_resizing=False)
        with torch.no_grad():
            rows = model.get_output_embeddings().weight
            rows[tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))] = rows.mean(dim=0)
    return model, tokenizer


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
