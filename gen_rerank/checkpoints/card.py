"""The card, `gen_rerank.json`: how to read a model, how to prompt it, how to correct it and where it comes from.

`Card` is the file's content, its parts are the classes before it. Older cards open for good: a key that is absent means
what it meant. Whether a card fits the model beside it is `checkpoint`'s to say.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tokenizers import Tokenizer

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES
from gen_rerank.checkpoints.folders import single_token_id
from gen_rerank.checkpoints.public_names import ANSWERS
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import PromptSpec

CARD = "gen_rerank.json"

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


class ExampleDraw(BaseModel):
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
        calibration: the example pairs, by the file's name for them; None where the scheme needs none.
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
    calibration: ExampleDraw | None = None
    parent: str | None = None
    parent_fingerprint: str | None = None
    realigned: Realignment | None = None
    dequantized: bool = False


class Teaching(BaseModel):
    """Whose distributions a checkpoint learned.

    Attributes:
        teacher: its name, as it was given.
        fingerprint: of the teacher.
        how: how its answers became distributions, in words.
        pairs: how many it was asked about.
        pairs_fingerprint: of those pairs and their labels.
        judged: how many of them had a label.
        label_weight: w of the targets (1 − w) · teacher + w · label of those.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    teacher: str
    fingerprint: str
    how: str
    pairs: int
    pairs_fingerprint: str
    judged: int
    label_weight: float


class Provenance(BaseModel):
    """Where a checkpoint comes from.

    Attributes:
        base: what training started from.
        base_source: where its weights were found, and their fingerprint, if its name alone does not say it.
        data: the fingerprint of the data set.
        recipe: as it was given.
        metrics: what was measured last, by name; those that were not defined are left out.
        commit: of the source that trained it.
        quantization: None where the weights are as they were trained.
        teaching: None where labels alone were learned.

    Example:
        >>> Provenance(metrics={"validation_rps": 0.1, "validation_ndcg@5": float("nan")}).metrics
        {'validation_rps': 0.1}
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    base: str | None = None
    base_source: str | None = None
    data: str | None = None
    recipe: dict[str, Any] | None = None
    metrics: dict[str, float] | None = None
    commit: str | None = None
    quantization: Quantization | None = None
    teaching: Teaching | None = None

    @field_validator("metrics", mode="before")
    @classmethod
    def _leave_out_undefined(cls, given: Any) -> Any:
        """JSON has no NaN, so cards once said null for it."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if not _undefined(value)}


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


def _undefined(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
