"""The card, `gen_rerank.json`: how to read a model, how to prompt it, how to correct it and where it comes from.

`Card` is the file's content, its parts are the classes before it. Older cards open for good: a key that is absent means
what it meant. Whether a card fits the model beside it is `checkpoint`'s to say.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from tokenizers import Tokenizer

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES
from gen_rerank.checkpoints.folders import single_token_id
from gen_rerank.checkpoints.public_names import ANSWERS
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import PromptSpec
from gen_rerank.system.publishing import write_text_whole

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


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ScoreMap(BaseModel):
    """A map of scores that keeps their order: piecewise linear, strictly increasing, defined from 0 to 1.

    Attributes:
        scores: means of distributions at the temperature of the card; from 0 to 1.
        relevances: what each is worth.

    Example:
        >>> ScoreMap(scores=(0.0, 0.6, 1.0), relevances=(0.0, 0.3, 0.9)).relevances[1]
        0.3
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: tuple[Share, ...]
    relevances: tuple[Share, ...]

    @model_validator(mode="after")
    def _keeps_the_order(self) -> Self:
        if len(self.scores) != len(self.relevances):
            raise ValueError(f"{len(self.scores)} scores have {len(self.relevances)} relevances")
        if self.scores[:1] != (0.0,) or self.scores[-1:] != (1.0,):
            raise ValueError("the scores of a map go from 0 to 1")
        for row in (self.scores, self.relevances):
            if any(low >= high for low, high in pairwise(row)):
                raise ValueError("a map of scores must rise from each point to the next")
        return self


class PromiseRecord(BaseModel):
    """What is promised of a tier's threshold, and on which evidence.

    Attributes:
        promise: as in `exact: wrong <= 5%`.
        kept: whether it holds with this confidence; where it does not, the threshold is the one that comes nearest.
        confidence: over draws of queries, of this promise alone.
        queries: how many spoke for it.
        observed: their mean loss at the threshold.
        bound: what their loss is at most, with this confidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    promise: str
    kept: bool
    confidence: Share
    queries: int
    observed: Share | None = None
    bound: Share | None = None


class CalibrationSource(BaseModel):
    """Which queries a calibration was found on, and of which weights.

    Attributes:
        data: the fingerprint of those queries and their judgments.
        split: they are of.
        queries: how many.
        pairs: how many.
        model: the fingerprint of what scored them, an adapter's own; None where somebody else brought the logits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    split: str
    queries: int
    pairs: int
    model: str | None = None


# Of the histograms that a card keeps.
BARS = 20
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=BARS, max_length=BARS)]


class ScoreHistogram(BaseModel):
    """How the scores of a calibration lay, so that others can be compared with them later.

    Attributes:
        scores: how many lie in each twentieth of [0, 1].
        stds: how many standard deviations lie in each twentieth of [0, 0.5].

    Example:
        >>> len(ScoreHistogram(scores=(1,) * 20, stds=(1,) * 20).scores)
        20
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: Counts
    stds: Counts


class Calibration(BaseModel):
    """What is applied to the logits, and the scores at which the tiers begin.

    What a card does not have is not written, so that an older card stays what it was, to the byte.

    Attributes:
        temperature: divides the logits.
        thresholds: by tier, of scores as they are after temperature and map.
        score_map: applied to the mean after the temperature; None leaves it as it is.
        promises: by tier; a threshold that was set by hand has none.
        source: None where nobody said it.
        histogram: of the scores of its pairs, as they came out of it; None where nobody kept it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    thresholds: dict[str, float] = {}
    score_map: ScoreMap | None = None
    promises: dict[str, PromiseRecord] = {}
    source: CalibrationSource | None = None
    histogram: ScoreHistogram | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name in _OLDEST or value}


# Cards always had these.
_OLDEST = ("temperature", "thresholds")


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
        """Write `gen_rerank.json` into `folder`; whoever reads it meanwhile meets the old card or this one."""
        write_text_whole(Path(folder) / CARD, self.model_dump_json(indent=2) + "\n")


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
