"""One run of `gen-rerank compare`: open, look at the files, score, measure, judge, write.

The order is that of cost: whatever can be refused is refused before anything is scored. Quality comes from plain
transformers for every system, one model in memory at a time; what speed and memory cost is `cost`'s. A candidate that
cannot be scored stays in the result, with its reason and failed gates: that is a finding, not an error. What is known
of the quality is written before the cost is measured, which takes longest and may be interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.console import Console

from gen_rerank import __version__
from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import DEFAULT_THRESHOLDS, THRESHOLDS, has_tiers
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset, judged_split
from gen_rerank.data.reading import rows_places
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.rankable import can_rank
from gen_rerank.reporting.progress import WorkProgress, progress_console
from gen_rerank.reporting.shell import list_left_out
from gen_rerank.scorers.engine_plan import default_dtype
from gen_rerank.system.machine import Machine, source_commit
from gen_rerank.system.publishing import require_apart, require_makeable, require_writable
from quant.answers import CandidateAnswers, ask_candidate, ask_reference, free_memory
from quant.baseline import Baseline, quality_of
from quant.comparison import Candidate, Comparison, Cost, Engine, Quality
from quant.cost import Subject, measure
from quant.gates import Gates
from quant.identity.checks import identity
from quant.report.pages import PAGE, TEXT, write_report
from quant.systems import ComparedSystem, compared_systems
from quant.workload import VisitWorkload

RESULT = "comparison.json"


@dataclass(frozen=True)
class ComparisonPlan:
    """What is compared, on what.

    Attributes:
        reference: a folder or hub name.
        candidates: folders or hub names.
        data: a data set folder.
        out: the folder for `comparison.json`, `report.html` and `report.md`.
        split: on which.
        gates: a file of limits; the defaults otherwise.
        load_time: `nf4`, `int8`: the reference as bitsandbytes quantizes it while it is loaded.
        cost: whether start-up, memory, throughput and latency are measured too.
        visits: how often each.
        candidates_per_query: whose latency is measured.
        seed: of the floor's order and of the workload.
        skip_bad_rows: leave bad rows of the data out.
        quantized_reference: let the reference be a quantized checkpoint: what came before it is not compared.
    """

    reference: str
    candidates: tuple[str, ...]
    data: Path
    out: Path
    split: str = "test"
    gates: Path | None = None
    load_time: tuple[str, ...] = ()
    cost: bool = True
    visits: int = 3
    candidates_per_query: int = 64
    seed: int = 0
    skip_bad_rows: bool = False
    quantized_reference: bool = False


def compare(plan: ComparisonPlan, console: Console = Console(quiet=True)) -> Comparison:  # noqa: B008 - says nothing
    """Compare candidates with their reference, and write `comparison.json`, `report.html` and `report.md`.

    Args:
        plan: what is compared.
        console: is shown progress, and the rows that were left out.

    Returns:
        the result; that gates failed is part of it.

    Raises:
        BadInput: nothing can be compared: bad data, bad gates, a reference that is refused (a quantized one too,
            unless the plan allows it), a candidate that is no checkpoint or of another kind, a split in which no query
            can be ranked, or an `out` that cannot be written. It is found before anything is scored, except for a
            reference that cannot be loaded or gives no finite scores.

    Example:
        >>> plan = ComparisonPlan("runs/model", ("runs/model-int8",), Path("shop"), Path("runs/compare"))
        >>> compare(plan).passed  # doctest: +SKIP
        True
    """
    require_makeable(plan.out)
    read = [("the data", place) for place in rows_places(plan.data)]
    read += [(f"the model {model}", Path(model)) for model in (plan.reference, *plan.candidates)]
    read += [] if plan.gates is None else [("the gates", plan.gates)]
    for name in (RESULT, PAGE, TEXT):
        require_apart(plan.out / name, read)
    opened = _open(plan, console)
    require_writable(plan.out)
    _remove_old(plan.out)
    # A bar goes where the result goes; lines, where there is no terminal, must not stand in it.
    shown = console if console.is_terminal else progress_console(quiet=console.quiet)
    with WorkProgress(console=shown, transient=True) as progress:
        expected, again = ask_reference(opened.checkpoint, opened.dataset, opened.reference, plan.seed, progress)
        answers = {one: ask_candidate(one, opened.checkpoint, opened.dataset, progress) for one in opened.others}
    thresholds, source = _thresholds(opened.checkpoint)
    baseline = Baseline(opened.reference, opened.dataset, expected, again, thresholds)
    candidates = tuple(_judged(baseline, system, found, opened.gates) for system, found in answers.items())
    comparison = _result(plan, opened, baseline, source, candidates)
    _write(comparison, plan.out)
    if opened.workload is not None:
        free_memory()
        known = {opened.reference: expected} | {
            system: found.distribution for system, found in answers.items() if found.distribution is not None
        }
        costs = _costs(known, opened.checkpoint, opened.workload, plan.visits, console)
        comparison = with_costs(comparison, costs, opened.gates)
        _write(comparison, plan.out)
    return comparison


def with_costs(comparison: Comparison, costs: Mapping[str, tuple[Cost, ...]], gates: Gates) -> Comparison:
    """Return the comparison with what each system costs, by name, judged again: what vLLM serves is known now."""
    reference = comparison.reference.model_copy(update={"cost": costs[comparison.reference.name]})
    candidates = []
    for one in comparison.candidates:
        measured = one.model_copy(update={"cost": costs.get(one.name, ())})
        verdicts = gates.judge(measured, reference, comparison.floor)
        candidates.append(measured.model_copy(update={"verdicts": verdicts}))
    return comparison.model_copy(update={"reference": reference, "candidates": tuple(candidates)})


@dataclass(frozen=True)
class _Opened:
    """All that a plan names, opened and found fit to be compared; nothing is scored yet."""

    gates: Gates
    dataset: Dataset
    checkpoint: Checkpoint
    reference: ComparedSystem
    others: tuple[ComparedSystem, ...]
    floors: dict[str, Quality]
    workload: VisitWorkload | None


def _open(plan: ComparisonPlan, console: Console) -> _Opened:
    gates = Gates.load(plan.gates)
    dataset = judged_split(plan.data, plan.split, plan.skip_bad_rows)
    list_left_out(console, dataset.bad_rows)
    checkpoint = Checkpoint.open(plan.reference)
    if not plan.quantized_reference:
        _refuse_quantized(checkpoint)
    reference, *others = compared_systems(checkpoint, plan.reference, plan.candidates, plan.load_time)
    workload = VisitWorkload.of(dataset, candidates=plan.candidates_per_query, seed=plan.seed) if plan.cost else None
    return _Opened(gates, dataset, checkpoint, reference, tuple(others), _floors(dataset, plan), workload)


def _refuse_quantized(reference: Checkpoint) -> None:
    """Refuse a reference that has lost something to rounding itself.

    Raises:
        BadInput: its card says so; that of a dequantized copy does too.
    """
    if reference.card.provenance.quantization is not None:
        raise BadInput(
            f"{reference.folder}: the reference is a quantized checkpoint, so what it lost already would not be seen; "
            "name the one that it was made from, or pass --quantized-reference"
        )


def _floors(dataset: Dataset, plan: ComparisonPlan) -> dict[str, Quality]:
    """Return the quality of random order and of BM25.

    Raises:
        BadInput: no query of the split says what a better order is.
    """
    if not can_rank(dataset):
        raise BadInput(
            f"{plan.data}: no query of the split {plan.split!r} can be ranked, so there is no ranking to compare; it "
            "needs a query with two judgments that differ"
        )
    return {floor.name: quality_of(floor) for floor in evaluate_floors(dataset)}


def _thresholds(reference: Checkpoint) -> tuple[dict[str, float], str]:
    """Return where the tiers begin, and who says so."""
    recorded = reference.card.calibration.thresholds
    if has_tiers(recorded):
        return {tier: recorded[tier] for tier in THRESHOLDS}, "the reference's card"
    return DEFAULT_THRESHOLDS, "defaults; the checkpoint has none"


def _remove_old(out: Path) -> None:
    """Remove what an earlier run wrote, so that its verdict is never taken for that of a run that failed."""
    for name in (RESULT, PAGE, TEXT):
        (out / name).unlink(missing_ok=True)


def _judged(baseline: Baseline, system: ComparedSystem, answers: CandidateAnswers, gates: Gates) -> Candidate:
    """Return a candidate with what its files say and the verdict of each gate, without its cost."""
    measured = baseline.candidate(system, answers)
    if system.loaded_as is None:
        checks, layers = identity(baseline.system.given, system.given)
        measured = measured.model_copy(update={"checks": tuple(checks), "layers": tuple(layers)})
    verdicts = gates.judge(measured, baseline.described(), baseline.floor)
    return measured.model_copy(update={"verdicts": verdicts})


def _result(
    plan: ComparisonPlan, opened: _Opened, baseline: Baseline, source: str, candidates: tuple[Candidate, ...]
) -> Comparison:
    workload = opened.workload
    return Comparison(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        commit=source_commit(),
        machine=str(Machine.here()),
        data=str(plan.data),
        fingerprint=opened.dataset.fingerprint,
        split=plan.split,
        queries=baseline.evaluation.queries,
        pairs=baseline.evaluation.pairs,
        floors=opened.floors,
        skipped=len(opened.dataset.bad_rows),
        thresholds=dict(baseline.thresholds),
        thresholds_source=source,
        candidates_per_query=plan.candidates_per_query if workload is None else workload.candidates,
        reference=baseline.described(),
        floor=baseline.floor,
        slice_floor=baseline.slice_floor,
        candidates=candidates,
    )


def _costs(
    answers: Mapping[ComparedSystem, Distribution],
    reference: Checkpoint,
    workload: VisitWorkload,
    visits: int,
    console: Console,
) -> dict[str, tuple[Cost, ...]]:
    """Return what each system costs that could be scored, by name."""
    engines: tuple[Engine, ...] = get_args(Engine)
    dtype = default_dtype(reference)
    subjects = [
        Subject(name=system.name, folder=system.folder, engine=engine, loaded_as=system.loaded_as, dtype=dtype)
        for system in answers
        for engine in engines
        if system.loaded_as is None or engine == "transformers"
    ]
    plain = {system.folder: answer for system, answer in answers.items() if system.loaded_as is None}
    measured = measure(subjects, workload, visits=visits, expected=plain, console=console)
    return {
        system.name: tuple(cost for subject, cost in measured.items() if subject.name == system.name)
        for system in answers
    }


def _write(comparison: Comparison, out: Path) -> None:
    comparison.save(out / RESULT)
    write_report(comparison, out)
