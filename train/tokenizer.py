"""Tokenizers for models that start from nothing: byte-level BPE, lower-cased, a word the same token wherever it stands.

What a tokenizer learns from, and which control tokens it has besides a decoder's, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gen_rerank.bins import BIN_TOKENS

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# A word and its colon are one token, and a word is the same token wherever it stands: matching is easier to learn.
_WORDS = Regex(r"[\p{L}\p{M}]+:?|\p{N}{1,4}|[^\s\p{L}\p{M}\p{N}]")


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a decoder's tokenizer, whose added tokens are the chat markers and the bin tokens.

    Args:
        texts: what it learns from.
        vocabulary: the most tokens, added ones included.

    Example:
        >>> train_tokenizer(["oak desk"], 320).tokenize("Oak")
        ['oak']
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(texts, vocabulary, [PAD, START, END, *BIN_TOKENS]),
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(BIN_TOKENS),
    )


def word_tokenizer(texts: Iterable[str], vocabulary: int, added: Sequence[str]) -> Tokenizer:
    """Return a tokenizer of `vocabulary` tokens at most, with `added` as its last ones."""
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
    tokenizer.add_special_tokens(list(added))
    return tokenizer
