"""A checkpoint: a plain Hugging Face folder plus `gen_rerank.json`, opened with every check that is cheap.

The card says how to read the model (`Readout`), how to prompt it (`PromptSpec`), how to correct it (`Calibration`) and
where it comes from (`Provenance`). Opening verifies that files, bin tokens and template are the ones that the
model was trained with, because a wrong one of these fails silently. The weights themselves are left to the scorers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES, bin_columns
from gen_rerank.checkpoints.public_names import ANSWERS, YES_NO, yes_no_prompt
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt, PromptSpec

CARD = "gen_rerank.json"
NEEDED = ("config.json", "tokenizer.json")
ADAPTER_CONFIG = "adapter_config.json"

AnyCard = TypeVar("AnyCard", bound=BaseModel)


class Readout(BaseModel):
    """Which outputs are read and what each is worth; the order is the model's.

    Attributes:
        kind: `bins` and `yes_no` read rows of a decoder's output matrix, `classifier` the head of an encoder.
        tokens: whose rows are read; empty for a classifier.
        token_ids: their ids, which must be those of the checkpoint's tokenizer.
        values: the relevance of each output, one of 0.0, 0.1 … 1.0.
    """

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

    @classmethod
    def yes_no(cls, tokenizer: Tokenizer) -> Readout:
        """Return the readout of a decoder that answers "no" or "yes".

        Raises:
            BadInput: an answer is not a single token of this tokenizer.
        """
        ids = tuple(single_token_id(tokenizer, token) for token in ANSWERS)
        return cls(kind="yes_no", tokens=ANSWERS, token_ids=ids, values=(0.0, 1.0))

    @classmethod
    def classifier(cls) -> Readout:
        """Return the readout of an encoder whose labels are the eleven bins.

        Example:
            >>> Readout.classifier().values[:3]
            (0.0, 0.1, 0.2)
        """
        return cls(kind="classifier", tokens=(), token_ids=())


class Calibration(BaseModel):
    """What is applied to the logits, and the scores at which the tiers begin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    thresholds: dict[str, float] = {}


class CalibrationData(BaseModel):
    """The pairs that a scheme's scales were set with: of which data set, how many, by which draw."""

    model_config = ConfigDict(extra="allow", frozen=True)

    fingerprint: str
    pairs: int
    tokens: int
    seed: int


class Realignment(BaseModel):
    """What the readout of a quantized checkpoint was trained on afterwards."""

    model_config = ConfigDict(extra="allow", frozen=True)

    data: str | None = None
    recipe: dict[str, Any] | None = None


class Quantization(BaseModel):
    """How a checkpoint was quantized.

    Attributes:
        scheme: its name in `gen_rerank.checkpoints.schemes`.
        preset: compressed-tensors' name of it.
        recipe: llm-compressor's modifiers with their arguments, in order.
        llmcompressor: the version that ran.
        calibration: None where the scheme needs no examples.
        parent: what was quantized, as it was called then.
        parent_fingerprint: its `Checkpoint.fingerprint`.
        realigned: None where the readout is the parent's.
        dequantized: whether the weights were decoded again, so that the folder is a plain one.

    Example:
        >>> Quantization(scheme="int8").realigned is None
        True
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    scheme: str | None = None
    preset: str | None = None
    recipe: tuple[dict[str, Any], ...] = ()
    llmcompressor: str | None = None
    calibration: CalibrationData | None = None
    parent: str | None = None
    parent_fingerprint: str | None = None
    realigned: Realignment | None = None
    dequantized: bool = False


class Provenance(BaseModel):
    """Where a checkpoint comes from."""

    model_config = ConfigDict(extra="allow", frozen=True)

    base: str | None = None
    data: str | None = None
    recipe: dict[str, Any] | None = None
    metrics: dict[str, float] | None = None
    commit: str | None = None
    quantization: Quantization | None = None


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
                token, a template that is not the recorded one, a readout outside the vocabulary, a classifier with
                another number of labels, an adapter. One sentence says which.
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
            f"{text}: no such folder, and the hub gives no model of this name ({type(error).__name__}); "
            "give the path of a folder, or the name of a model on the hub, which must be reachable"
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


def read_card(folder: Path, kind: type[AnyCard]) -> AnyCard:
    """Return `gen_rerank.json` of a folder.

    Raises:
        BadInput: it is missing, or is no such card; the sentence names the first wrong place.
    """
    file = folder / CARD
    if not file.is_file():
        raise BadInput(f"{folder}: not a gen_rerank checkpoint, {CARD} is missing")
    try:
        return kind.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{file}: {where}: {first['msg']}") from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        BadInput: it is not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise BadInput(f"{file}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file}: not a JSON object")
    return content


def _check_readout(readout: Readout, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    bin_columns(readout.values)
    if readout.kind == "classifier":
        _check_labels(readout, config)
    else:
        _check_tokens(readout, tokenizer, int(config.get("vocab_size", 0)))


def _check_labels(readout: Readout, config: dict[str, Any]) -> None:
    if readout.tokens or readout.token_ids:
        raise BadInput("a classifier reads its labels, but the card names readout tokens")
    # Two are transformers' default, which it does not write down.
    labels = len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))
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
            f"the tokenizer is another one: its readout tokens have the ids {list(found)}, the card says {list(readout.token_ids)}"
        )
    if max(found) >= vocabulary:
        raise BadInput(f"readout token id {max(found)} is outside the model's vocabulary of {vocabulary}")
