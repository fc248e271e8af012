"""What a run leaves for people: `training.html`, the model card `README.md`, and `training.json` to redraw them.

A `TrainingRun` holds the figures; measures are `gen_rerank.evaluation.evaluation`'s. The page is `templates/training.html` (inline
SVG, no script, nothing loaded from elsewhere), the card `templates/model_card.md`; here are the shapes that a template
cannot compute itself.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.resources import files
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined

from gen_rerank import __version__
from gen_rerank.checkpoints.card import Card
from gen_rerank.errors import BadInput
from gen_rerank.evaluation import evaluation
from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.evaluation.metrics import Interval
from gen_rerank.reporting.axis import Axis
from train.data_check import DataSummary
from train.noise import Disagreement, FittedNoise
from train.targets import Noise

Kind = Literal["distributional", "scalar", "adapter", "encoder"]
Point = tuple[float, float]

PAGE = "training.html"
RUN = "training.json"
MODEL_CARD = "README.md"

_TITLES: dict[Kind, str] = {
    "distributional": "Phase 1, distributional",
    "scalar": "Phase 2, scalar",
    "adapter": "Adapter for a catalog",
    "encoder": "Encoder baseline",
}
_LIBRARIES: dict[Kind, str] = {
    "distributional": "transformers",
    "scalar": "transformers",
    "adapter": "peft",
    "encoder": "sentence-transformers",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#!|~$])")


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
        floors: the same split, ranked without a model.
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
    floors: tuple[Evaluation, ...] = ()

    @property
    def title(self) -> str:
        """The kind of training, in words."""
        return _TITLES[self.kind]

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
            "floors": [floor.to_json() for floor in self.floors],
        }
        return _plain(row)

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
                    "floors": tuple(Evaluation.from_json(floor) for floor in row["floors"]),
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


def write_training_report(folder: str | Path, run: TrainingRun) -> None:
    """Write `training.html` and `training.json` into `folder`.

    Example:
        >>> write_training_report("runs/model", TrainingRun.load("runs/model/training.json"))  # doctest: +SKIP
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["compact"] = compact
    page = environment.from_string(_template("training.html")).render(
        version=__version__,
        run=run,
        charts=training_charts(run),
        sigma=sigma_chart(run),
        reliable=[one for one in (run.before, run.after) if one is not None and one.reliability],
        rows=[(one, figures(one)) for one in run.systems],
        measures=_measures(run),
        costs=_costs(run),
        recipe=_yaml(run.recipe),
    )
    folder = Path(folder)
    (folder / PAGE).write_text(page.lstrip(), encoding="utf-8")
    run.save(folder / RUN)


def write_model_card(folder: str | Path, run: TrainingRun, card: Card) -> None:
    """Write the model card, `README.md` with the hub's metadata, into `folder`.

    The metadata name no licence: it is the base model's, and whoever publishes the model must look it up.

    Args:
        folder: of the model.
        run: what was trained and measured.
        card: of the checkpoint; for an adapter its base's, with the adapter's own calibration and provenance.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - Markdown
    environment.filters |= {"prose": _prose, "code": _code, "block": _block, "argument": shlex.quote, "literal": repr}
    text = environment.from_string(_template("model_card.md")).render(
        version=__version__,
        run=run,
        card=card,
        rows=[(one, figures(one)) for one in run.systems],
        measures=_measures(run),
        costs=_costs(run),
        recipe=_yaml(run.recipe),
    )
    ModelCard(f"---\n{_metadata(run).to_yaml()}\n---\n\n{text}").save(Path(folder) / MODEL_CARD)


class Line(NamedTuple):
    """A curve and what it is called."""

    name: str
    points: tuple[Point, ...]


class Mark(NamedTuple):
    """A measured point: its place, its standard error, and its share of the pairs of the largest mark."""

    x: float
    y: float
    error: float
    weight: float
    title: str


@dataclass(frozen=True)
class Chart:
    """Curves and marks on two axes; the template draws it."""

    title: str
    x: Axis
    y: Axis
    x_name: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()


def training_charts(run: TrainingRun) -> list[Chart]:
    """Return the charts over steps of what the trainer logged: loss, nDCG@5, RPS; none for what it did not."""
    kinds = {
        "Loss": (("training", "loss"), ("validation", "eval_loss")),
        "nDCG@5, validation": (("validation", "eval_ndcg@5"),),
        "RPS, validation": (("validation", "eval_rps"),),
    }
    charts = []
    for title, curves in kinds.items():
        lines = tuple(
            Line(f"{name}, last {points[-1][1]:.4g}", points) for name, key in curves if (points := run.curve(key))
        )
        if lines:
            steps, values = zip(*(point for line in lines for point in line.points), strict=True)
            charts.append(Chart(title, Axis.over((0, *steps)), Axis.over(values), "step", lines))
    return charts


def sigma_chart(run: TrainingRun) -> Chart | None:
    """Return σ(y), where the run used one, over the annotators' disagreement, where it is known; None without either.

    With a fitted σ there is a second curve, the spread of labels that it implies: hold the marks against that one.
    """
    y = np.linspace(0.0, 1.0, 201)
    curves = [] if run.noise is None else [("σ(y), width of the targets", run.noise.sigma(y))]
    if run.fitted is not None:
        curves.append(("labels, as fitted", run.fitted.label_std(y)))
    lines = tuple(Line(name, tuple(zip(y.tolist(), values.tolist(), strict=True))) for name, values in curves)
    most = max((level.pairs for level in run.disagreement), default=1)
    marks = tuple(
        Mark(
            level.level,
            level.std,
            level.standard_error,
            level.pairs / most,
            f"label {level.level:.2f}: {level.std:.3f} ± {level.standard_error:.3f}, {level.pairs:,} pairs",
        )
        for level in run.disagreement
    )
    heights = [height for line in lines for _, height in line.points] + [mark.y + mark.error for mark in marks]
    if not heights:
        return None
    return Chart("Width of the targets", Axis.over((0.0, 1.0)), Axis.over((0.0, *heights)), "label y", lines, marks)


def figures(one: Evaluation) -> dict[str, Interval]:
    """Return all measures of an evaluation by name, those of the ranking first."""
    return {**one.ranking, **(one.calibration or {})}


def compact(number: int) -> str:
    """Return a count that fits over a bar.

    Example:
        >>> [compact(n) for n in (950, 12_345, 3_400_000)]
        ['950', '12k', '3.4M']
    """
    if number < 1_000:
        return str(number)
    value, unit = (number / 1_000, "k") if number < 999_500 else (number / 1_000_000, "M")
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def _measures(run: TrainingRun) -> list[str]:
    return list(dict.fromkeys(name for one in run.systems for name in figures(one)))


def _costs(run: TrainingRun) -> set[str]:
    """Return the measures of which less is better: those of calibration."""
    return {name for one in run.systems for name in one.calibration or ()}


def _metadata(run: TrainingRun) -> ModelCardData:
    return ModelCardData(
        base_model=run.base if _HUB_NAME.fullmatch(run.base) and not Path(run.base).exists() else None,
        library_name=_LIBRARIES[run.kind],
        pipeline_tag="text-ranking",
        tags=["reranker", "product-search", "gen_rerank", run.kind],
        model_name=run.name,
        eval_results=_eval_results(run) or None,
    )


def _eval_results(run: TrainingRun) -> list[EvalResult]:
    if run.after is None:
        return []
    return [
        EvalResult(
            task_type="text-ranking",
            dataset_type="private",
            dataset_name=f"validation queries of the data set {run.fingerprint}",
            dataset_split="validation",
            dataset_revision=run.fingerprint,
            metric_type=re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"),
            metric_name=name,
            metric_value=round(interval.mean, 6),
        )
        for name, interval in figures(run.after).items()
    ]


def _template(name: str) -> str:
    return files("train").joinpath("templates", name).read_text("utf-8")


def _yaml(recipe: Mapping[str, Any]) -> str:
    return yaml.safe_dump(_plain(recipe), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value: null for a number that is not finite, text for what has no other form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _prose(text: str) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", line)


def _code(text: str) -> str:
    """Return text as a code span, fenced by more backticks than it holds in a row."""
    fence = "`" * (_longest_run(text) + 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def _block(text: str, language: str = "") -> str:
    """Return text as a code block, fenced by more backticks than it holds in a row."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
