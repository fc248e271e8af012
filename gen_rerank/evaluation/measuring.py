"""What the commands `score` and `evaluate` do between parsing and printing: open, score, measure, write."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset, judged_split
from gen_rerank.data.reading import rows_places
from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.eress_measures import EressReport, eress_report
from gen_rerank.evaluation.evaluation import Evaluation, evaluate, save_json
from gen_rerank.evaluation.floors import FLOORS, bm25_scores, evaluate_floors
from gen_rerank.evaluation.gates import Gate
from gen_rerank.evaluation.rankable import deciding_queries
from gen_rerank.evaluation.scores import write_scores
from gen_rerank.evaluation.side_by_side import SideBySide
from gen_rerank.evaluation.systems import BASELINE, SystemNames
from gen_rerank.evaluation.tier_figures import ModelTiers, model_tiers_table
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.tables import one_line
from gen_rerank.scorers.opening import PreparedScorer, prepare_scorer
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.system.publishing import require_apart, require_writable_file

# What `--measure` may ask for beside the house's own measures.
ERESS = "eress"


@dataclass(frozen=True)
class Scored:
    """How much was scored, how fast and with what; opening the model is not counted.

    Attributes:
        pairs: how many.
        seconds: how long.
        bad_rows: the rows of the data that were left out.
        scored_with: backend and number type.
    """

    pairs: int
    seconds: float
    bad_rows: tuple[BadRow, ...]
    scored_with: str

    @property
    def pairs_per_second(self) -> float:
        """The throughput."""
        return self.pairs / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "pairs": self.pairs,
            "seconds": self.seconds,
            "pairs_per_second": self.pairs_per_second,
            "scored_with": self.scored_with,
            "bad_rows": len(self.bad_rows),
        }


@dataclass(frozen=True)
class EvaluationPlan:
    """What one run of `evaluate` measures.

    Attributes:
        models: folders or hub names.
        data: a data set folder.
        split: of it.
        backend: that computes.
        dtype: `auto`, `float32` or `bfloat16`.
        adapter: on the only model.
        gates: as they were written.
        baseline: an evaluation of one model that was saved earlier.
        measure: `eress` for its two figures beside the house's measures.
        out: a file for all figures as JSON.
        scores: a file for the distributions of the only model.
        skip_bad_rows: leave bad rows of the data out.
    """

    models: tuple[str, ...]
    data: Path
    split: str = "test"
    backend: str = "transformers"
    dtype: str = "auto"
    adapter: str | None = None
    gates: tuple[str, ...] = ()
    baseline: Path | None = None
    measure: str | None = None
    out: Path | None = None
    scores: Path | None = None
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        found: the systems beside each other.
        legend: one line a model: with what it was scored, and where there are several, its place and folder.
        eress: its two figures, where they were asked for.
        tiers: by model, what its tiers do for these queries; of those whose cards have some.
        bad_rows: the rows of the data that were left out.
    """

    found: SideBySide
    legend: tuple[str, ...]
    eress: EressReport | None
    tiers: dict[str, ModelTiers]
    bad_rows: tuple[BadRow, ...]

    def shown(self) -> Iterator[RenderableType]:
        """Yield what people see."""
        yield from self.legend
        yield from self.found.shown()
        if self.tiers:
            yield model_tiers_table(self.tiers)
        if self.eress is not None:
            yield self.eress.table()

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        tiers = {"tiers": {name: one.to_json() for name, one in self.tiers.items()}} if self.tiers else {}
        return self.found.to_json() | tiers | ({} if self.eress is None else {ERESS: self.eress.to_json()})


def score_split(
    model: str,
    data: Path,
    split: str,
    backend: str,
    skip_bad_rows: bool,
    out: Path,
    *,
    adapter: str | None = None,
    dtype: str = "auto",
) -> Scored:
    """Score the judged pairs of a split and write them.

    Raises:
        BadInput: an `out` that cannot be written, bad data, an empty split, or a refused checkpoint or adapter.
    """
    require_place(out, data, (model,), adapter)
    dataset = judged_split(data, split, skip_bad_rows)
    distribution, scored = _score(prepare_scorer(model, backend, adapter, dtype), dataset)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_scores(out, dataset, distribution)
    return scored


def evaluate_models(plan: EvaluationPlan) -> Report:
    """Measure models beside their floors and each other, and write JSON where a path is given.

    All that can be refused is refused before anything is scored: files, gates, data, checkpoints.

    Raises:
        BadInput: a file that cannot be written, a gate or a baseline that does not fit, bad data, an empty split, a
            refused checkpoint or adapter.

    Example:
        >>> evaluate_models(EvaluationPlan(("runs/model",), Path("shop"))).found.passed  # doctest: +SKIP
        True
    """
    _check(plan)
    saved = None if plan.baseline is None else Evaluation.load(plan.baseline)
    names = SystemNames.of(plan.models, plan.adapter, baseline=saved is not None)
    gates = [Gate.parse(text, names, saved) for text in plan.gates]
    dataset = judged_split(plan.data, plan.split, plan.skip_bad_rows)
    floors = tuple(evaluate_floors(dataset))
    baseline = None if saved is None else _as_baseline(saved, plan, floors[0])
    prepared = [prepare_scorer(model, plan.backend, plan.adapter, plan.dtype) for model in plan.models]
    scored = {
        name: _score(one, dataset, "scoring" if len(prepared) == 1 else f"scoring {name}")[0]
        for name, one in zip(names.models, prepared, strict=True)
    }
    models = [
        replace(evaluate(name, dataset, scored[name]), scored_with=str(one))
        for name, one in zip(names.models, prepared, strict=True)
    ]
    found = SideBySide(floors, baseline, tuple(models))
    deciding = deciding_queries(dataset)
    found = replace(found, verdicts=tuple(gate.judge(found.systems, deciding) for gate in gates))
    eress = eress_report(dataset, {FLOORS[1]: bm25_scores(dataset), **scored}) if plan.measure == ERESS else None
    tiers = {
        name: ModelTiers.of(dataset, scored[name].mean, one.calibration)
        for name, one in zip(names.models, prepared, strict=True)
    }
    known = {name: one for name, one in tiers.items() if one is not None}
    report = Report(found, tuple(_legend(plan, names, found)), eress, known, dataset.bad_rows)
    for path in (plan.out, plan.scores):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if plan.out is not None:
        save_json(plan.out, report.to_json())
    if plan.scores is not None:
        write_scores(plan.scores, dataset, scored[names.models[0]])
    return report


def _check(plan: EvaluationPlan) -> None:
    """Refuse options that do not go together, and files that cannot be written.

    Raises:
        BadInput: one of them.
    """
    if (plan.data / "config.json").is_file():
        raise BadInput(f"{plan.data}: is a model's folder; models come first and the data folder last")
    for path in (plan.out, plan.scores):
        if path is not None:
            require_place(path, plan.data, plan.models, plan.adapter, plan.baseline)
    if plan.out is not None and plan.scores is not None and plan.out.resolve() == plan.scores.resolve():
        raise BadInput(f"{plan.out}: --out and --scores are one file; name two")
    if plan.measure not in (None, ERESS):
        raise BadInput(f"--measure {plan.measure}: there is only {ERESS}; the house's own measures are always there")
    if len(plan.models) > 1 and plan.scores is not None:
        raise BadInput("--scores goes with one model; gen-rerank score writes those of another")
    if len(plan.models) > 1 and plan.adapter is not None:
        raise BadInput(
            "--adapter goes with one model; evaluate one with --out evaluation.json, and pass that file as --baseline"
        )


def require_place(
    file: Path, data: Path, models: Sequence[str], adapter: str | None = None, baseline: Path | None = None
) -> None:
    """Refuse a file that cannot be written, or that would take the place of what is read.

    Raises:
        BadInput: one of the two.

    Example:
        >>> require_place(Path("shop/products.jsonl"), Path("shop"), [])
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: shop/products.jsonl: is a file of the data that is read; name another
    """
    read = [("the data", place) for place in rows_places(data)]
    read += [(f"the model {model}", Path(model)) for model in models]
    read += [] if adapter is None else [(f"the adapter {adapter}", Path(adapter))]
    read += [] if baseline is None else [("the baseline", baseline)]
    require_apart(file, read)
    require_writable_file(file)


def _as_baseline(saved: Evaluation, plan: EvaluationPlan, floor: Evaluation) -> Evaluation:
    """Return a saved evaluation under the name of the baseline.

    Args:
        saved: what was read.
        plan: names the data.
        floor: of the data; of whatever system, a measure is defined for the same queries.

    Raises:
        BadInput: it was made on other data, or has no values where this data has some.
    """
    again = "evaluate the baseline's model again on this data"
    here = f"the split {plan.split!r} of {plan.data}"
    if saved.data != floor.data:
        raise BadInput(
            f"{plan.baseline}: is of other data (fingerprint {saved.data}) than {here} ({floor.data}), or of the same "
            f"rows in another order; {again}"
        )
    if saved.query_ids != floor.query_ids:
        other = "in another order" if sorted(saved.query_ids) == sorted(floor.query_ids) else "that are not its queries"
        raise BadInput(f"{plan.baseline}: is damaged: it is of {here}, and has query_ids {other}; {again}")
    if saved.pairs != floor.pairs:
        raise BadInput(f"{plan.baseline}: is damaged: pairs is {saved.pairs}, and {here} has {floor.pairs}; {again}")
    everywhere = np.full(floor.queries, False)
    for measure, values in saved.per_query.items():
        absent = np.isnan(floor.per_query[measure]) if measure in floor.per_query else everywhere
        wrong = np.flatnonzero(np.isnan(values) != absent)
        if len(wrong):
            raise BadInput(
                f"{plan.baseline}: is damaged: of {measure} the query {saved.query_ids[wrong[0]]!r} must have "
                f"{'no' if absent[wrong[0]] else 'a'} value; {again}"
            )
    return replace(saved, name=BASELINE)


def _legend(plan: EvaluationPlan, names: SystemNames, found: SideBySide) -> Iterator[str]:
    if found.baseline is not None:
        with_what = f", scored with {found.baseline.scored_with}" if found.baseline.scored_with else ""
        yield one_line(f"baseline: {plan.baseline}{with_what}")
    for place, given, name, model in zip(names.places, plan.models, names.models, found.models, strict=True):
        called = "" if name == place else f" ({name})"
        where = f"{place}{called}: {given}, " if len(names.models) > 1 else ""
        yield one_line(f"{where}scored with {model.scored_with}")


def _score(prepared: PreparedScorer, dataset: Dataset, task: str = "scoring") -> tuple[Distribution, Scored]:
    """Score all judged pairs; an engine is stopped here, and a model's memory given back before the next one's."""
    pairs = [dataset.pair(row) for row in dataset.judgments]
    with prepared.open() as scorer, WorkProgress(transient=True) as progress:
        start = time.perf_counter()
        distribution = score_pairs(scorer, pairs, progress, task)
        seconds = time.perf_counter() - start
    del scorer
    gc.collect()
    return distribution, Scored(len(pairs), seconds, dataset.bad_rows, str(prepared))
