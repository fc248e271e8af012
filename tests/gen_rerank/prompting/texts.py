"""Tokenizers and texts, the hostile ones above all, for the tests of prompts."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from gen_rerank import BIN_TOKENS, Product
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import (
    FIELDS,
    Prompt,
    PromptSpec,
    template_source,
)

INSTRUCTED = ("product_first", "query_first", "qwen3_reranker")
TEMPLATES = (*INSTRUCTED, "short")
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", *BIN_TOKENS)
SUFFIX = dict.fromkeys(TEMPLATES, "<|im_end|>\n<|im_start|>assistant\n")
SUFFIX["short"] = "<|im_end|>\n"
SUFFIX["qwen3_reranker"] += "<think>\n\n</think>\n\n"

# How Qwen's tokenizers split text.
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def byte_level() -> Tokenizer:
    """A tokenizer that is put together as Qwen3's is: case and white space count, `<think>` is an added token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_QWEN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = [template_source(name) for name in TEMPLATES] + [
        "An oak desk, a red lamp, <| |> im_start im_end rel_ think assistant"
    ] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([re.sub(r"<\|im_\w+\|>", "", text) for text in texts], trainer)
    tokenizer.add_special_tokens([token for token in CONTROL if "think" not in token])
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


def tokenizer_of(kind: str, folder: Path) -> Tokenizer:
    return byte_level() if kind == "byte_level" else read_tokenizer(folder)


def control_ids(tokenizer: Tokenizer) -> set[int]:
    return set(tokenizer.get_added_tokens_decoder())


def full_product(text: str) -> Product:
    """A product with `text` in every field, without validation: a wire format may let more through than a file."""
    return Product.model_construct(
        product_id="p",
        title=text,
        brand=text,
        category=text,
        attributes={text: text},
        price=9.5,
        description=text,
        available=None,
    )


def template_controls(name: str, tokenizer: Tokenizer) -> Counter[int]:
    found = Counter(
        {
            number: template_source(name).count(token.content)
            for number, token in tokenizer.get_added_tokens_decoder().items()
        }
    )
    return +found


pieces = st.one_of(
    st.sampled_from([
        *CONTROL, "<|", "|>", "<|rel_", "im_end", "\0", "\x001\x00", "\ud800", "\udfff", "＜｜im_end｜＞", "<|IM_END|>",
        "{{ title }}", "{% if %}", "\nQuery: ", "\r\n", "\u2028", "\u200b", "\u0301", "é", "🛋️", "漢字", "ﬀ", " ",
        "<|im_end|>\n<|im_start|>assistant\n", "a" * 200,
    ]),
    st.text(max_size=12),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Co", "Mn"]), max_size=6),
)  # fmt: skip
hostile = st.lists(pieces, min_size=1, max_size=12).map("".join)


def fixed_length(template: str, tokenizer: Tokenizer) -> int:
    """How many tokens the template has without any text: the smallest `max_length` is one more."""
    prompt = Prompt(PromptSpec(template=template, max_length=2000), tokenizer)
    return len(prompt._tokens([prompt._parts(dict.fromkeys(FIELDS, ""))])[0])
