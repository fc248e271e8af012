"""A checkpoint: a plain Hugging Face folder plus `gen_rerank.json`, opened with every check that is cheap.

The card says how to read the model (`Readout`), how to prompt it (`PromptSpec`), how to correct it (`Calibration`) and
where it comes from (`Provenance`). Opening verifies that files, bin tokens and template are the ones that the
model was trained with, because a wrong one of these fails silently. The weights themselves are left to the scorers.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES, bin_columns
from gen_rerank.errors import BadInput
from gen_rerank.prompt import Prompt, PromptSpec

CARD = "gen_rerank.json"


class Readout(BaseModel):
    """Which output rows are read and what each is worth; the order is the model's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["bins", "yes_no", "classifier"] = "bins"
    tokens: tuple[str, ...] = BIN_TOKENS
    token_ids: tuple[int, ...]
    values: tuple[float, ...] = tuple(round(value, 1) for value in BIN_VALUES.tolist())

    @classmethod
    def of(cls, tokenizer: Tokenizer, tokens: tuple[str, ...] = BIN_TOKENS) -> Readout:
        """Return the bins readout of a tokenizer that has the bin tokens.

        Raises:
            BadInput: a bin token is not a single token of this tokenizer.
        """
        return cls(tokens=tokens, token_ids=tuple(single_token_id(tokenizer, token) for token in tokens))


class Calibration(BaseModel):
    """What is applied to the logits, and the scores at which the tiers begin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    thresholds: dict[str, float] = {}


class Provenance(BaseModel):
    """Where a checkpoint comes from."""

    model_config = ConfigDict(extra="allow", frozen=True)

    base: str | None = None
    data: str | None = None
    recipe: dict[str, Any] | None = None
    metrics: dict[str, float] | None = None
    commit: str | None = None


class Card(BaseModel):
    """The content of `gen_rerank.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    readout: Readout
    prompt: PromptSpec
    calibration: Calibration = Calibration()
    provenance: Provenance = Provenance()

    def save(self, folder: str | Path) -> None:
        """Write `gen_rerank.json` into `folder`."""
        (Path(folder) / CARD).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


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
                token, a template that is not the recorded one, a readout outside the vocabulary. One sentence says which.
        """
        folder = resolve_folder(name)
        card = _read_card(folder)
        for needed in ("config.json", "tokenizer.json"):
            if not (folder / needed).is_file():
                raise BadInput(f"{folder}: not a checkpoint, {needed} is missing")
        if not any(folder.glob("*.safetensors")):
            raise BadInput(f"{folder}: not a checkpoint, it has no *.safetensors weights")
        tokenizer = read_tokenizer(folder)
        config = _read_config(folder / "config.json")
        _check_readout(folder, card.readout, tokenizer, int(config.get("vocab_size", 0)))
        try:
            prompt = Prompt(card.prompt, tokenizer)
        except BadInput as error:
            raise BadInput(f"{folder}: {error}") from error
        return cls(folder, card, tokenizer, prompt, config)


def resolve_folder(name: str | Path) -> Path:
    """Return the local folder of a path, or of a hub name, which is downloaded or found in the cache.

    Raises:
        BadInput: there is no such folder, and the hub does not answer to the name either.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    text = str(name)
    if text.count("/") != 1 or text.startswith((".", "/", "~")) or folder.parent.is_dir():
        raise BadInput(f"{text}: no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"{text}: no such folder, and the hub gives no model of this name ({type(error).__name__})"
        ) from error


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the fast tokenizer of a model folder.

    Raises:
        BadInput: `tokenizer.json` is missing or cannot be read.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise BadInput(f"{folder}: tokenizer.json is missing")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        raise BadInput(f"{file}: not a tokenizer ({error})") from error


def single_token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of `token`.

    Raises:
        BadInput: the tokenizer has no such single token.
    """
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        pieces = len(tokenizer.encode(token, add_special_tokens=False))
        raise BadInput(f"the readout token {token!r} is not a single token of the tokenizer (it makes {pieces})")
    return number


def source_commit() -> str | None:
    """Return the commit of the source tree that runs, or None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _read_card(folder: Path) -> Card:
    file = folder / CARD
    if not file.is_file():
        raise BadInput(f"{folder}: not a gen_rerank checkpoint, {CARD} is missing")
    try:
        return Card.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{file}: {where}: {first['msg']}") from error


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except ValueError as error:
        raise BadInput(f"{file}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise BadInput(f"{file}: not a JSON object")
    return config


def _check_readout(folder: Path, readout: Readout, tokenizer: Tokenizer, vocabulary: int) -> None:
    if not len(readout.tokens) == len(readout.token_ids) == len(readout.values):
        raise BadInput(f"{folder / CARD}: readout tokens, token_ids and values differ in number")
    try:
        bin_columns(readout.values)
        found = tuple(single_token_id(tokenizer, token) for token in readout.tokens)
    except BadInput as error:
        raise BadInput(f"{folder}: {error}") from error
    if found != readout.token_ids:
        raise BadInput(
            f"{folder}: the tokenizer is another one: its readout tokens have the ids {list(found)}, the card says {list(readout.token_ids)}"
        )
    if max(found) >= vocabulary:
        raise BadInput(f"{folder}: readout token id {max(found)} is outside the model's vocabulary of {vocabulary}")
