"""The figures of a finished run: what it was given and what came out, as one value that JSON keeps.

Measures are `gen_rerank.evaluation.evaluation`'s. The documents that show them are `report`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from gen_rerank.errors import BadInput
from gen_rerank.evaluation import evaluation
from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.evaluation.intervals import Interval
from train.data_check import DataSummary
from train.noise import Disagreement, FittedNoise
from train.readout_choice import ReadoutChoice
from train.targets import Noise

Kind = Literal["distributional", "scalar", "adapter", "encoder", "distil"]
Point = tuple[float, float]

_TITLES: dict[Kind, str] = {
    "distributional": "Phase 1, distributional",
    "scalar": "Phase 2, scalar",
    "adapter": "Adapter for a catalog",
    "encoder": "Encoder baseline",
    "distil": "Encoder that learns from a teacher",
}


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What a run was given and what came out. What was not measured is None or empty, and is called so.

    Attributes:
        kind: of training.
        name: of the model that came out, for titles.
        base: what training started from: a hub name, a folder, a packaged base or "new".
        data: of the whole data set.
        fingerprint: of the data set.
        recipe: as given.
        history: the trainer's log (`state.log_history`): rows with `step` and `loss`, `eval_loss`, `eval_ndcg@5` …
        tokens: read per epoch, padding left out.
        padding: share of all positions that hold none, in [0, 1].
        pairs_per_second: trained on.
        seconds: that training took.
        noise: the σ(y) whose targets were learned.
        fitted: how `noise` was estimated, with standard errors, where it was.
        disagreement: what the annotators' labels say of σ, level by level.
        before: the validation split before this run (phase 1, or the adapter's base).
        after: the validation split after it.
        choice: of phase 2, which readout is published; None in runs from before there was a choice.
        floors: the same split, ranked without a model.
        sampled: how many of its queries were measured on the way; None means all, and so it is at the end always.
        remarks: what the measured queries can show and what they cannot, in sentences.
    """

    kind: Kind
    name: str
    base: str
    data: DataSummary
    fingerprint: str
    recipe: dict[str, Any]
    history: tuple[Mapping[str, Any], ...] = ()
    tokens: int | None = None
    padding: float | None = None
    pairs_per_second: float | None = None
    seconds: float | None = None
    noise: Noise | None = None
    fitted: FittedNoise | None = None
    disagreement: tuple[Disagreement, ...] = ()
    before: Evaluation | None = None
    after: Evaluation | None = None
    choice: ReadoutChoice | None = None
    floors: tuple[Evaluation, ...] = ()
    sampled: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The kind of training, in words."""
        return _TITLES[self.kind]

    @property
    def measured_on(self) -> str:
        """The queries of all figures, for headings: an adapter's were held out, fold by fold (`cross_fitting`)."""
        return "training and validation queries, each held out once" if self.kind == "adapter" else "validation queries"

    @property
    def systems(self) -> tuple[Evaluation, ...]:
        """The rows of the table of metrics: floors, before, after."""
        return (*self.floors, *(one for one in (self.before, self.after) if one is not None))

    @cached_property
    def gain(self) -> dict[str, Interval]:
        """After − before, paired by query, for each measure; empty if either was not measured."""
        if self.before is None or self.after is None:
            return {}
        return evaluation.difference(self.after, self.before)

    def curve(self, name: str) -> tuple[Point, ...]:
        """Return the logged values of `name` over steps; what is not a finite number is left out."""
        rows = (row for row in self.history if _finite(row.get(name)))
        return tuple((float(row["step"]), float(row[name])) for row in rows)

    @property
    def broken_steps(self) -> tuple[int, ...]:
        """The steps whose logged loss is not a finite number."""
        return tuple(int(row["step"]) for row in self.history if "loss" in row and not _finite(row["loss"]))

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads; a number that is not finite becomes null."""
        row = {name: getattr(self, name) for name in (entry.name for entry in fields(self))}
        row |= {
            "data": self.data.to_json(),
            "noise": None if self.noise is None else asdict(self.noise),
            "fitted": None if self.fitted is None else self.fitted.model_dump(),
            "disagreement": [level._asdict() for level in self.disagreement],
            "before": None if self.before is None else self.before.to_json(),
            "after": None if self.after is None else self.after.to_json(),
            "choice": None if self.choice is None else self.choice.to_json(),
            "floors": [floor.to_json() for floor in self.floors],
        }
        return plain_values(row)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrainingRun:
        """Return the run of what `to_json` gave.

        Raises:
            BadInput: a field is missing or has another shape.
        """
        try:
            noise = row["noise"] and {name: _tuple(value) for name, value in row["noise"].items()}
            return cls(
                **{
                    **row,
                    "data": DataSummary.from_json(row["data"]),
                    "history": tuple(row["history"]),
                    "noise": noise and Noise(**noise),
                    "fitted": row["fitted"] and FittedNoise.model_validate(row["fitted"]),
                    "disagreement": tuple(Disagreement(**level) for level in row["disagreement"]),
                    "before": row["before"] and Evaluation.from_json(row["before"]),
                    "after": row["after"] and Evaluation.from_json(row["after"]),
                    "choice": ReadoutChoice.from_json(row["choice"]) if row.get("choice") else None,
                    "floors": tuple(Evaluation.from_json(floor) for floor in row["floors"]),
                    "remarks": tuple(row.get("remarks", ())),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"not a training run: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the run as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TrainingRun:
        """Read a run that `save` wrote.

        Raises:
            BadInput: there is no such file, or it is not a training run.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:  # BadInput among them
            raise BadInput(f"{path}: {error}") from error


def plain_values(value: Any) -> Any:
    """Return what JSON can say of a value: null for a number that is not finite, text for what has no other form."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
