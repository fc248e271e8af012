"""What is kept of a cascade, `cascade.json`: which two models, between which bounds, and what is promised of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.checkpoints.card import CalibrationSource, PromiseRecord, Share
from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import PreparedScorer
from gen_rerank.search.cascade.reading import BATCH, Bounds, ReadingBudget
from gen_rerank.system.publishing import write_text_whole

CASCADE = "cascade.json"
# The shop's first screen.
PLACES = 5

Difference = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class LossRecord(BaseModel):
    """What is promised of the ranking, and on which evidence; differences of nDCG, below 0 where the cascade is better.

    Attributes:
        promise: as in `nDCG@5: lost <= 0.005`, against the decoder's ranking of everything.
        kept: whether it holds with this confidence; where it does not, the bounds are those that come nearest.
        confidence: over draws of queries.
        queries: how many spoke for it.
        observed: their mean loss between these bounds; None where none has a say.
        bound: what the loss is at most, with this confidence.
        reason: why it is not promised; empty where it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    promise: str
    kept: bool
    confidence: Share
    queries: Count
    observed: Difference | None = None
    bound: Difference | None = None
    reason: str = ""


class CascadeCard(BaseModel):
    """The content of `cascade.json`.

    Attributes:
        encoder: `identity` of the model that reads everything.
        decoder: of the one that reads what is undecided.
        places: k: how many places are to be settled.
        low: of `Bounds`.
        high: of `Bounds`.
        batch: how many products the decoder reads at a time.
        pairs: the most that it reads for a query; None is no limit.
        loss: what is promised of the ranking; None where the bounds were set by hand.
        tiers: what is promised of the tiers of the cascade's answers.
        read: the mean share of a query's products that the decoder read there.
        source: the queries.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    encoder: str
    decoder: str
    places: Annotated[int, Field(ge=1)] = PLACES
    low: Share
    high: Share = 1.0
    batch: Annotated[int, Field(ge=1)] = BATCH
    pairs: Count | None = None
    loss: LossRecord | None = None
    tiers: dict[str, PromiseRecord] = {}
    read: Share | None = None
    source: CalibrationSource | None = None

    @property
    def bounds(self) -> Bounds:
        """Between which chances a product is read."""
        return Bounds(self.low, self.high)

    @property
    def budget(self) -> ReadingBudget:
        """The most that is read, which the promise knows of."""
        return ReadingBudget(self.pairs)

    @classmethod
    def read_file(cls, file: Path) -> CascadeCard:
        """Return what a file says.

        Raises:
            BadInput: there is none, or it is no such card; the sentence names the first wrong place.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise BadInput(f"{file}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise BadInput(f"{file}: {where}: {first['msg']}") from error

    def save(self, file: Path) -> None:
        """Write the file; whoever reads it meanwhile meets the old one or this one."""
        write_text_whole(file, self.model_dump_json(indent=2, exclude_none=True) + "\n")


def identity(model: PreparedScorer) -> str:
    """Return a hash, 16 hexadecimal digits, of all that a model's distributions depend on: weights and calibration."""
    adapter = "" if model.adapter is None else model.adapter.fingerprint
    calibration = model.calibration.model_dump_json(include={"temperature", "score_map", "thresholds"})
    text = f"{model.checkpoint.fingerprint}\n{adapter}\n{calibration}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
