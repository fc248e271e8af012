"""What a run leaves for people: `training.html`, the model card `README.md`, and `training.json` to redraw them.

The figures are a `TrainingRun`'s, the drawings `charts`'. The page is `templates/training.html` (inline SVG, no script,
nothing loaded from elsewhere), the card `templates/model_card.md`; here is what a template cannot compute itself.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from gen_rerank import __version__
from gen_rerank.checkpoints.card import Card
from gen_rerank.evaluation.evaluation import HEADLINE, Evaluation
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.reporting.markdown import block, code, prose, table
from gen_rerank.reporting.numbers import ABSENT, compact, figure
from gen_rerank.reporting.pages import render
from train.charts import sigma_chart, training_charts
from train.training_run import Kind, TrainingRun, plain_values

PAGE = "training.html"
RUN = "training.json"
MODEL_CARD = "README.md"

_LIBRARIES: dict[Kind, str] = {
    "distributional": "transformers",
    "scalar": "transformers",
    "adapter": "peft",
    "encoder": "sentence-transformers",
    "distil": "sentence-transformers",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def write_training_report(folder: str | Path, run: TrainingRun) -> None:
    """Write `training.html` and `training.json` into `folder`.

    Example:
        >>> write_training_report("runs/model", TrainingRun.load("runs/model/training.json"))  # doctest: +SKIP
    """
    shapes = _shapes(run) | {
        "headline": HEADLINE,
        "charts": training_charts(run),
        "sigma": sigma_chart(run),
        "reliable": [one for one in (run.before, run.after) if one is not None and one.reliability],
        "measures": _measures(run),
        "costs": _costs(run),
    }
    page = render("train", "training.html", shapes, compact, figure)
    folder = Path(folder)
    (folder / PAGE).write_text(page, encoding="utf-8")
    run.save(folder / RUN)


def write_model_card(folder: str | Path, run: TrainingRun, card: Card) -> None:
    """Write the model card, `README.md` with the hub's metadata, into `folder`.

    The metadata name no licence: it is the base model's, and whoever publishes the model must look it up.

    Args:
        folder: of the model.
        run: what was trained and measured.
        card: of the checkpoint; for an adapter its base's, with the adapter's own calibration and provenance.

    Example:
        >>> run = TrainingRun.load("runs/model/training.json")  # doctest: +SKIP
        >>> write_model_card("runs/model", run, Checkpoint.open("runs/model").card)  # doctest: +SKIP
    """
    shapes = _shapes(run) | {"card": card, "splits": _splits(run), "results": _results(run)}
    text = render("train", "model_card.md", shapes, prose, code, block, argument=shlex.quote, literal=repr)
    ModelCard(f"---\n{_metadata(run).to_yaml()}\n---\n\n{text}").save(Path(folder) / MODEL_CARD)


def figures(one: Evaluation) -> dict[str, Interval]:
    """Return all measures of an evaluation by name, those of the ranking first."""
    return {**one.ranking, **(one.calibration or {})}


def _shapes(run: TrainingRun) -> dict[str, Any]:
    """Return what both templates read."""
    recipe = yaml.safe_dump(plain_values(run.recipe), sort_keys=False, allow_unicode=True)
    return {
        "version": __version__,
        "run": run,
        "rows": [(one, figures(one)) for one in run.systems],
        "recipe": recipe,
    }


def _splits(run: TrainingRun) -> str:
    rows = (
        (prose(name), *(f"{count:,}" for count in (split.queries, split.judgments, split.products)))
        for name, split in run.data.splits.items()
    )
    return table(("Split", "Queries", "Judgments", "Judged products"), rows)


def _results(run: TrainingRun) -> str:
    """Return the table of the systems, with the change that the run made as its last row."""
    measures, costs = _measures(run), _costs(run)

    def row(name: str, found: dict[str, str]) -> list[str]:
        return [name, *(found.get(measure, ABSENT) for measure in measures)]

    systems = ((one.name, {name: str(interval) for name, interval in figures(one).items()}) for one in run.systems)
    rows = [row(prose(name), found) for name, found in systems]
    if run.gain:
        rows.append(row("after − before", {name: interval.shown("+.3f") for name, interval in run.gain.items()}))
    return table(["System", *(prose(name) + " ↓" * (name in costs) for name in measures)], rows)


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
            dataset_name=f"{run.measured_on} of the data set {run.fingerprint}",
            dataset_split="train+validation" if run.kind == "adapter" else "validation",
            dataset_revision=run.fingerprint,
            metric_type=re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"),
            metric_name=name,
            metric_value=round(interval.mean, 6),
        )
        for name, interval in figures(run.after).items()
    ]
