"""A checkpoint: a plain Hugging Face folder plus its card, opened with every check that is cheap.

Opening verifies that files, bin tokens and template are the ones that the model was trained with, because a wrong one
of these fails silently. The weights themselves are left to the scorers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveInt, ValidationError
from tokenizers import Tokenizer

from gen_rerank.bins import bin_columns
from gen_rerank.checkpoints.card import CARD, Card, Readout, read_card
from gen_rerank.checkpoints.folders import read_json, read_tokenizer, resolve_folder, single_token_id
from gen_rerank.checkpoints.public_names import YES_NO, yes_no_prompt
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt

NEEDED = ("config.json", "tokenizer.json")
ADAPTER_CONFIG = "adapter_config.json"


class _ReadConfig(BaseModel):
    """What is read of `config.json` here and by the scorers; most of it may be absent, or null."""

    architectures: list[str] | None = None
    vocab_size: PositiveInt | None = None
    num_hidden_layers: PositiveInt | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    max_position_embeddings: PositiveInt | None = None
    num_labels: PositiveInt | None = None
    id2label: dict[Any, Any] | None = None
    quantization_config: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder.

    Example:
        >>> Checkpoint.open("runs/demo/model").card.readout.kind  # doctest: +SKIP
        'bins'
    """

    folder: Path
    card: Card
    tokenizer: Tokenizer
    prompt: Prompt
    config: dict[str, Any]

    @classmethod
    def open(cls, name: str | Path) -> Checkpoint:
        """Open a folder, or a hub name (`owner/model`), and check it.

        Raises:
            BadInput: not a checkpoint: a missing file, a card that does not parse, a bin token that is not a single
                token, a template that is not the recorded one, a configuration with values of another kind, a readout
                outside the vocabulary, a classifier with another number of labels, an adapter. One sentence says which.
        """
        folder = resolve_folder(name)
        if (folder / ADAPTER_CONFIG).is_file():
            base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "another model"
            raise BadInput(
                f"{folder}: this is an adapter of {base}; pass the base as the model and this folder as --adapter"
            )
        recorded = (folder / CARD).is_file()
        public = yes_no_prompt(name)
        if not recorded and public is None:
            raise BadInput(
                f"{folder}: not a gen_rerank checkpoint, {CARD} is missing; without it only public rerankers can be "
                f"opened, by their names: {', '.join(YES_NO)}"
            )
        for needed in NEEDED:
            if not (folder / needed).is_file():
                raise BadInput(f"{folder}: not a checkpoint, {needed} is missing")
        if not any(folder.glob("*.safetensors")):
            raise BadInput(f"{folder}: not a checkpoint, it has no *.safetensors weights")
        tokenizer = read_tokenizer(folder)
        config = read_json(folder / "config.json")
        if recorded or public is None:
            card = read_card(folder, Card)
        try:
            if not recorded and public is not None:
                card = Card(readout=Readout.yes_no(tokenizer), prompt=public)
            _check_config(config)
            _check_readout(card.readout, tokenizer, config)
            prompt = Prompt(card.prompt, tokenizer)
        except BadInput as error:
            raise BadInput(f"{folder}: {error}") from error
        return cls(folder, card, tokenizer, prompt, config)

    @property
    def is_quantized(self) -> bool:
        """Whether `config.json` says that the weights are stored quantized; null says that they are not."""
        return bool(self.config.get("quantization_config"))

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256, 16 hexadecimal digits, over what an adapter is trained against.

        That is the weights, the configuration, the tokenizer, the template and the readout. Calibration and provenance
        may change without it. The first call reads all the weights.
        """
        digest = hashlib.sha256()
        for file in (*sorted(self.folder.glob("*.safetensors")), *(self.folder / name for name in NEEDED)):
            with file.open("rb") as stream:
                digest.update(f"{file.name}:{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        digest.update(f"{self.prompt.spec.sha256}\n{self.card.readout.model_dump_json()}".encode())
        return digest.hexdigest()[:16]


def _check_config(config: dict[str, Any]) -> None:
    """Refuse values of another kind than they are read as here; the rest of the file is the libraries' to read.

    Raises:
        BadInput: the sentence names the first one.
    """
    try:
        _ReadConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"config.json: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _check_readout(readout: Readout, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    bin_columns(readout.values)
    if readout.kind == "classifier":
        _check_labels(readout, config)
    else:
        _check_tokens(readout, tokenizer, int(config.get("vocab_size") or 0))


def _check_labels(readout: Readout, config: dict[str, Any]) -> None:
    if readout.tokens or readout.token_ids:
        raise BadInput("a classifier reads its labels, but the card names readout tokens")
    # Two are transformers' default, which it does not write down.
    labels = len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels") or 2)
    if labels != len(readout.values):
        raise BadInput(f"the model has {labels} labels, the card gives values to {len(readout.values)}")


def _check_tokens(readout: Readout, tokenizer: Tokenizer, vocabulary: int) -> None:
    if not len(readout.tokens) == len(readout.token_ids) == len(readout.values):
        raise BadInput("readout tokens, token_ids and values differ in number")
    if readout.kind == "yes_no" and sorted(readout.values) != [0.0, 1.0]:
        raise BadInput(f"a yes_no readout has two tokens, worth 0 and 1, not {list(readout.values)}")
    found = tuple(single_token_id(tokenizer, token) for token in readout.tokens)
    if found != readout.token_ids:
        raise BadInput(
            f"the tokenizer is another one: its readout tokens have the ids {list(found)}, the card "
            f"says {list(readout.token_ids)}"
        )
    if max(found) >= vocabulary:
        raise BadInput(f"readout token id {max(found)} is outside the model's vocabulary of {vocabulary}")
