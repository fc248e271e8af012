"""One run of `gen-rerank compare`: open, look at the files, score, measure, judge, write.

The order is that of cost: whatever can be refused is refused before anything is scored. Quality comes from plain
transformers for every system, one model in memory at a time; what speed and memory cost is `cost`'s. A candidate that
cannot be scored stays in the result, with its reason and failed gates: that is a finding, not an error. What is known
of the quality is written before the cost is measured, which takes longest and may be interrupted.
"""

from __future__ import annotations

import gc
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import Progress

from gen_rerank import __version__
from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import THRESHOLDS, has_tiers
from gen_rerank.checkpoints.card import CARD, Card, Quantization, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_json, resolve_folder
from gen_rerank.checkpoints.public_names import yes_no_prompt
from gen_rerank.data.records import Dataset, Pair, judged_split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.metrics import paired
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.shell import list_left_out
from gen_rerank.scorers.engine_plan import default_dtype
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.machine import Machine, source_commit
from quant.comparison import Candidate, Comparison, Cost, Drift, Engine, Quality, SliceChange, System
from quant.cost import Subject, Workload, measure
from quant.drift import drift, worst_pairs
from quant.gates import Gates
from quant.identity.checks import identity
from gen_rerank.checkpoints.bitsandbytes import LoadedAs
from quant.quantized_loading import open_loaded_as
from quant.report import PAGE, TEXT, write_report

RESULT = "comparison.json"
DEFAULT_THRESHOLDS = {"exact": 0.8, "close": 0.5}

_MEASURES = ("nDCG@5", "nDCG@10", RPS, MSE, ECE)
# Of the noise floor; a quarter of what a scorer takes otherwise, so that no batch is what it was.
_FLOOR_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Plan:
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


@dataclass(frozen=True)
class _Entry:
    """A system that is compared: its unique name, its folder as given and on this machine, and how it is loaded."""

    name: str
    given: str
    folder: Path
    load_time: str | None = None


@dataclass(frozen=True)
class _Scored:
    """What a system answered, or why it did not."""

    distribution: Distribution | None
    evaluation: Evaluation | None = None
    refused: str = ""


def compare(plan: Plan, console: Console = Console(quiet=True)) -> Comparison:  # noqa: B008 - says nothing
    """Compare candidates with their reference, and write `comparison.json`, `report.html` and `report.md`.

    Args:
        plan: what is compared.
        console: is shown progress, and the rows that were left out.

    Returns:
        the result; that gates failed is part of it.

    Raises:
        BadInput: nothing can be compared: bad data, bad gates, a reference that is refused, a candidate that is no
            checkpoint or of another kind, a split in which no query defines nDCG, or an `out` that cannot be written.
            It is found before anything is scored, except for a reference that cannot be loaded or gives no finite scores.

    Example:
        >>> compare(Plan("runs/model", ("runs/model-int8",), Path("shop"), Path("runs/compare"))).passed  # doctest: +SKIP
        True
    """
    gates = Gates.load(plan.gates)
    dataset = judged_split(plan.data, plan.split, plan.skip_bad_rows)
    list_left_out(console, dataset.bad_rows)
    opened = Checkpoint.open(plan.reference)
    reference, *entries = _entries(plan, opened)
    workload = Workload.of(dataset, candidates=plan.candidates_per_query, seed=plan.seed) if plan.cost else None
    floors = _floors(dataset, plan)
    thresholds, source = _thresholds(opened)
    _check_out(plan.out)
    _remove_old(plan.out)
    with WorkProgress(console=console, transient=True) as progress:
        expected, again = _score_reference(opened, dataset, reference, plan.seed, progress)
        scored = {entry: _score_candidate(entry, opened, dataset, progress) for entry in entries}
    evaluation = evaluate(reference.name, dataset, expected)
    floor = _drift(dataset, expected, again, thresholds)
    system = _system(reference, _quality(evaluation))
    candidates = []
    for entry, found in scored.items():
        measured = _candidate(entry, found, dataset, expected, evaluation, thresholds)
        if entry.load_time is None:
            checks, layers = identity(plan.reference, entry.given)
            measured = measured.model_copy(update={"checks": tuple(checks), "layers": tuple(layers)})
        candidates.append(measured.model_copy(update={"verdicts": gates.judge(measured, system, floor)}))
    comparison = Comparison(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        commit=source_commit(),
        machine=str(Machine.here()),
        data=str(plan.data),
        fingerprint=dataset.fingerprint,
        split=plan.split,
        queries=evaluation.queries,
        pairs=evaluation.pairs,
        floors=floors,
        skipped=len(dataset.bad_rows),
        thresholds=thresholds,
        thresholds_source=source,
        candidates_per_query=plan.candidates_per_query if workload is None else workload.candidates,
        reference=system,
        floor=floor,
        slice_floor=_mean_changes(dataset, expected, again),
        candidates=tuple(candidates),
    )
    _write(comparison, plan.out)
    if workload is not None:
        _free()
        costs = _costs(reference, expected, scored, workload, plan.visits, console)
        comparison = _with_costs(comparison, costs, gates)
        _write(comparison, plan.out)
    return comparison


def _entries(plan: Plan, reference: Checkpoint) -> list[_Entry]:
    """Return the reference and what is compared with it, with unique names.

    Raises:
        BadInput: there is nothing to compare, a candidate is no checkpoint or of another kind, no such load-time row.
    """
    if not plan.candidates and not plan.load_time:
        raise BadInput("nothing to compare with the reference; give a candidate folder, or --load-time nf4")
    for kind in plan.load_time:
        if kind not in get_args(LoadedAs):
            raise BadInput(f"there is no load-time row {kind!r}; choose one of {', '.join(get_args(LoadedAs))}")
    if plan.load_time and reference.is_quantized:
        raise BadInput(f"{reference.folder}: already quantized; --load-time needs a reference in full precision")
    folders = [reference.folder, *(_candidate_folder(name, reference) for name in plan.candidates)]
    given = (plan.reference, *plan.candidates)
    named = [_Entry(*fields) for fields in zip(_names(given), given, folders, strict=True)]
    rows = [
        _Entry(f"{kind} (bitsandbytes)", plan.reference, reference.folder, kind)
        for kind in dict.fromkeys(plan.load_time)
    ]
    return [*named, *rows]


def _candidate_folder(name: str, reference: Checkpoint) -> Path:
    folder = resolve_folder(name)
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: not a checkpoint, config.json is missing")
    if not (folder / CARD).is_file():
        if yes_no_prompt(name) is None:
            raise BadInput(f"{folder}: not a gen_rerank checkpoint, {CARD} is missing")
        return folder
    try:
        kind = read_card(folder, Card).readout.kind
    except BadInput:
        return folder  # a card that does not parse is a finding about this candidate
    if "classifier" in (kind, reference.card.readout.kind) and kind != reference.card.readout.kind:
        raise BadInput(
            f"{folder}: its readout is {kind}, the reference's is {reference.card.readout.kind}; encoders are compared with "
            "encoders and decoders with decoders"
        )
    return folder


def _names(given: Sequence[str]) -> list[str]:
    """Return the shortest ends of paths that tell them apart; what is given twice is numbered.

    Example:
        >>> _names(["a/model", "b/model", "b/model"])
        ['a/model', 'b/model', 'b/model (2)']
    """
    parts = [Path(name).resolve().parts for name in given]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(set(parts)):
            break
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return numbered


def _check_out(out: Path) -> None:
    """Make the folder, and write and remove a file in it.

    Raises:
        BadInput: that cannot be done.
    """
    trial = out / f".{RESULT}.partial"
    try:
        out.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({error.strerror}); choose another --out") from error


def _remove_old(out: Path) -> None:
    """Remove what an earlier run wrote, so that its verdict is never taken for that of a run that failed."""
    for name in (RESULT, PAGE, TEXT):
        (out / name).unlink(missing_ok=True)


def _floors(dataset: Dataset, plan: Plan) -> dict[str, Quality]:
    """Return the quality of random order and of BM25.

    Raises:
        BadInput: no query of the split says what a better order is.
    """
    floors = {floor.name: _quality(floor) for floor in evaluate_floors(dataset)}
    if not any("nDCG@5" in floor.measures for floor in floors.values()):
        raise BadInput(
            f"{plan.data}: nDCG is defined for no query of the split {plan.split!r}, so there is no ranking to compare; "
            "it needs a query with a relevant product"
        )
    return floors


def _thresholds(reference: Checkpoint) -> tuple[dict[str, float], str]:
    """Return where the tiers begin, and who says so."""
    recorded = reference.card.calibration.thresholds
    if has_tiers(recorded):
        return {tier: recorded[tier] for tier in THRESHOLDS}, "the reference's card"
    return DEFAULT_THRESHOLDS, "defaults; the checkpoint has none"


def _score_reference(
    checkpoint: Checkpoint, dataset: Dataset, entry: _Entry, seed: int, progress: Progress
) -> tuple[Distribution, Distribution]:
    """Return the reference's answers, and those it gives in another order and in other batches: the noise floor.

    Raises:
        BadInput: it cannot be loaded or scored.
    """
    pairs = _pairs(dataset)
    order = np.random.default_rng(seed).permutation(len(pairs))
    try:
        with _quiet_libraries():
            scorer = TransformersScorer(checkpoint)
        expected = score_pairs(scorer, pairs, progress, entry.name)
        scorer.batch_tokens = _FLOOR_BATCH_TOKENS
        again = score_pairs(scorer, [pairs[i] for i in order], progress, f"{entry.name} again")
    except Exception as error:
        raise BadInput(_reason(entry, error)) from error
    return expected, again[np.argsort(order)]


def _score_candidate(entry: _Entry, reference: Checkpoint, dataset: Dataset, progress: Progress) -> _Scored:
    _free()
    try:
        with _quiet_libraries():
            if entry.load_time is None:
                scorer = TransformersScorer(Checkpoint.open(entry.given))
            else:
                scorer = open_loaded_as(reference, entry.load_time)
        answered = score_pairs(scorer, _pairs(dataset), progress, entry.name)
    except Exception as error:  # whatever a broken folder makes the libraries raise is a finding about this candidate
        return _Scored(None, refused=_reason(entry, error))
    return _Scored(answered, evaluate(entry.name, dataset, answered))


def _free() -> None:
    """Give back the memory of the model that was scored last; the GPU's torch would keep for itself."""
    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep off the terminal the bars with which libraries open a checkpoint, and their remarks.

    There is a bar of our own, and what would matter is an exception. bitsandbytes warns of kernels that a CPU lacks and
    nothing here needs.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with redirect_stderr(io.StringIO()):
        yield


def _reason(entry: _Entry, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, BadInput) else f"{entry.folder}: cannot be loaded or scored ({text[:300]})"


def _pairs(dataset: Dataset) -> list[Pair]:
    return [dataset.pair(judgment) for judgment in dataset.judgments]


def _costs(
    reference: _Entry,
    expected: Distribution,
    scored: Mapping[_Entry, _Scored],
    workload: Workload,
    visits: int,
    console: Console,
) -> dict[str, tuple[Cost, ...]]:
    """Return what each system costs that could be scored, by name."""
    answers = {
        reference: expected,
        **{entry: found.distribution for entry, found in scored.items() if found.distribution is not None},
    }
    engines: tuple[Engine, ...] = get_args(Engine)
    dtype = default_dtype(Checkpoint.open(reference.given))
    subjects = [
        Subject(name=entry.name, folder=entry.folder, engine=engine, load_time=entry.load_time, dtype=dtype)
        for entry in answers
        for engine in engines
        if entry.load_time is None or engine == "transformers"
    ]
    plain = {entry.folder: answer for entry, answer in answers.items() if entry.load_time is None}
    measured = measure(subjects, workload, visits=visits, expected=plain, console=console)
    return {
        entry.name: tuple(cost for subject, cost in measured.items() if subject.name == entry.name) for entry in answers
    }


def _with_costs(comparison: Comparison, costs: Mapping[str, tuple[Cost, ...]], gates: Gates) -> Comparison:
    """Return the comparison with what each system costs, judged again: what vLLM serves is known now."""
    reference = comparison.reference.model_copy(update={"cost": costs[comparison.reference.name]})
    candidates = []
    for one in comparison.candidates:
        measured = one.model_copy(update={"cost": costs.get(one.name, ())})
        verdicts = gates.judge(measured, reference, comparison.floor)
        candidates.append(measured.model_copy(update={"verdicts": verdicts}))
    return comparison.model_copy(update={"reference": reference, "candidates": tuple(candidates)})


def _system(entry: _Entry, quality: Quality | None) -> System:
    if entry.load_time is not None:
        scheme, realigned = entry.name, False
    else:
        scheme, realigned = _recorded_scheme(entry.folder)
    disk = sum(path.stat().st_size for path in entry.folder.glob("*.safetensors"))
    return System(
        name=entry.name,
        folder=entry.given,
        scheme=scheme,
        realigned=realigned,
        disk_bytes=disk,
        quality=quality,
    )


def _recorded_scheme(folder: Path) -> tuple[str, bool]:
    """Return the scheme and whether the readout was re-aligned, from the card, or from what the weights are stored as."""
    try:
        stored = read_json(folder / "config.json").get("quantization_config") or {}
        recorded = read_card(folder, Card).provenance.quantization if (folder / CARD).is_file() else None
    except BadInput:
        return "unknown", False
    made = recorded or Quantization()
    return made.scheme or str(stored.get("format", "none")), made.realigned is not None


def _candidate(
    entry: _Entry,
    found: _Scored,
    dataset: Dataset,
    expected: Distribution,
    reference: Evaluation,
    thresholds: Mapping[str, float],
) -> Candidate:
    """Return all that is measured of a candidate, but for its files and its cost."""
    if found.distribution is None or found.evaluation is None:
        return Candidate(**dict(_system(entry, None)), refused=found.refused)
    delta = {name: change for name, change in difference(found.evaluation, reference).items() if name in _MEASURES}
    return Candidate(
        **dict(_system(entry, _quality(found.evaluation))),
        delta=delta,
        queries={name: int(_defined(found.evaluation, reference, name).sum()) for name in delta},
        drift=_drift(dataset, expected, found.distribution, thresholds),
        slices=_slices(dataset, expected, found.distribution, reference, found.evaluation),
        worst=worst_pairs(dataset, expected, found.distribution),
    )


def _quality(evaluation: Evaluation) -> Quality:
    known = {**evaluation.ranking, **(evaluation.calibration or {})}
    return Quality(measures={name: known[name] for name in _MEASURES if name in known})


def _drift(dataset: Dataset, expected: Distribution, other: Distribution, thresholds: Mapping[str, float]) -> Drift:
    queries, products = ([getattr(row, key) for row in dataset.judgments] for key in ("query_id", "product_id"))
    return drift(queries, expected, other, thresholds, product_ids=products)


def _defined(a: Evaluation, b: Evaluation, measure: str) -> npt.NDArray[np.bool_]:
    """Return for which queries the difference of a measure is defined, `[queries]`."""
    return ~np.isnan(a.per_query[measure] - b.per_query[measure])


def _slices(
    dataset: Dataset, expected: Distribution, other: Distribution, reference: Evaluation, candidate: Evaluation
) -> dict[str, SliceChange]:
    """Return the change of each tag for whose queries nDCG@5 is defined, in alphabetical order."""
    before, after = reference.per_query["nDCG@5"], candidate.per_query["nDCG@5"]
    defined = _defined(candidate, reference, "nDCG@5")
    found = {}
    for tag, mean_change in _mean_changes(dataset, expected, other).items():
        queries = defined & [tag in dataset.queries[query_id].tags for query_id in reference.query_ids]
        if queries.any():
            change = paired(after[queries], before[queries])
            found[tag] = SliceChange(queries=int(queries.sum()), ndcg5=change, mean_change=mean_change)
    return found


def _mean_changes(dataset: Dataset, expected: Distribution, other: Distribution) -> dict[str, float]:
    """Return the mean |Δscore| of the pairs of each tag, in alphabetical order."""
    change = np.abs(other.mean.astype(np.float64) - expected.mean)
    tags_of = [dataset.queries[row.query_id].tags for row in dataset.judgments]
    return {
        tag: float(change[[tag in tags for tags in tags_of]].mean())
        for tag in sorted({tag for tags in tags_of for tag in tags})
    }


def _write(comparison: Comparison, out: Path) -> None:
    """Write the report, and `comparison.json` whole or not at all."""
    partial = out / f".{RESULT}.partial"
    comparison.save(partial)
    partial.replace(out / RESULT)
    write_report(comparison, out)
