"""One run: what is scored is cut into slices, slices that have no shard yet are scored, and all of it is counted.

A run that was killed goes on when the same command is given again. Which pairs a slice has, how it is scored and who
scores it are `sources`', `worker`'s and `engines`'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.offline.finishing import finish, missing_slices, remark
from gen_rerank.offline.identity import fingerprint_of
from gen_rerank.offline.inputs import Inputs, InputSlice
from gen_rerank.offline.kept import keep_scores
from gen_rerank.offline.manifest import (
    FileRecord,
    Manifest,
    ScoredData,
    ScoringModel,
    Totals,
    read_manifest,
    require_same,
)
from gen_rerank.offline.plan import ScoringPlan
from gen_rerank.offline.rows import AskedQuery, PairRow
from gen_rerank.offline.shards import BAD_ROWS, SCORES, ShardFigures, bad_rows_file, figures_of, write_bad_rows
from gen_rerank.offline.sources import PairFiles, Source
from gen_rerank.offline.texts import read_texts
from gen_rerank.offline.worker import ScoringJob, SliceScorer, trouble
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.opening import PreparedScorer, prepare_scorer
from gen_rerank.scorers.scorer import Advance
from gen_rerank.system.interrupts import kept_when_interrupted
from gen_rerank.system.publishing import alone_at

# The bad rows of the data folder that pairs of ids were joined with.
_OF_DATA = "data"

# Is told of each shard when it is done.
Done = Callable[[ShardFigures], None]
# Scores slices: is given the job, the slices, and whom to tell of pairs and of shards.
Engine = Callable[[ScoringJob, Sequence[InputSlice], Advance, Done], None]


@dataclass(frozen=True)
class ScoringReport:
    """What a run did.

    Attributes:
        out: the folder of the scores.
        totals: what is in it.
        scored: pairs that this command scored, or took from an earlier run; the others a killed one had left.
        seconds: that they took, with the model's loading.
        scored_with: backend and number type.
        other_model: whether the earlier run was another model's, so that nothing of it could be used.
    """

    out: Path
    totals: Totals
    scored: int
    seconds: float
    scored_with: str
    other_model: bool = False

    def shown(self) -> Iterator[str]:
        """Yield what people see."""
        if self.other_model:
            yield "the earlier scores are another model's: none of them can be used"
        yield f"{self.out}: {remark(self.totals)}"
        if self.totals.bad:
            yield f"bad rows, with their reasons: {self.out / BAD_ROWS}"
        if self.scored:
            yield f"{counted(self.scored, 'pair')} now, {self._pace:,.0f} a second ({self.scored_with})"
        else:
            yield "all of it was there already"

    @property
    def _pace(self) -> float:
        return self.scored / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "out": str(self.out),
            **self.totals.model_dump(),
            "scored_now": self.scored,
            "seconds": self.seconds,
            "pairs_per_second": self._pace,
            "scored_with": self.scored_with,
        }


@dataclass(frozen=True)
class _OpenedPlan:
    """What a plan names, opened: cut, fingerprinted, and ready for workers."""

    plan: ScoringPlan
    prepared: PreparedScorer
    inputs: Inputs
    source: Source
    manifest: Manifest
    bad_data: list[BadRow]


def score_here(job: ScoringJob, slices: Sequence[InputSlice], advance: Advance, done: Done) -> None:
    """Score slices in this process, one after the other: the engine `local`.

    Raises:
        BadInput: the model is refused, or something was changed since the run began.
        OSError: a shard cannot be written.
    """
    scorer = SliceScorer(job)
    try:
        for one in slices:
            done(scorer.score(one, advance))
    finally:
        scorer.close()


def score_offline(plan: ScoringPlan, engine: Engine = score_here) -> ScoringReport:
    """Score all pairs of a plan, each once; what a killed run has scored is not scored again.

    Raises:
        BadInput: options that do not go together, a place that cannot be written, another run at it, or one that was
            begun with another model or other data; no pairs, a refused model, or a full disk. What was scored is kept.

    Example:
        >>> plan = ScoringPlan("runs/model", Path("runs/scores"), pairs=Path("pairs"))  # doctest: +SKIP
        >>> score_offline(plan).totals.lost  # doctest: +SKIP
        0
    """
    plan.check()
    out = plan.out.resolve()
    try:
        with _in_words(), alone_at(out / SCORES) as workplace:
            return _score(_opened(plan, workplace), out, workplace, engine)
    finally:
        with suppress(OSError):  # it is empty where nothing was begun
            out.rmdir()


def _score(opened: _OpenedPlan, out: Path, workplace: Path, engine: Engine) -> ScoringReport:
    plan, manifest, inputs = opened.plan, opened.manifest, opened.inputs
    before = read_manifest(out)
    if before is not None:
        require_same(plan.out, before, manifest)
    missing = missing_slices(out, manifest.run, inputs)
    if before is not None and before.finished is not None and not missing:
        return ScoringReport(plan.out, before.finished, 0, 0.0, str(opened.prepared))
    kept, other_model = _kept(plan, manifest, workplace)
    for folder in (SCORES, BAD_ROWS):
        (out / folder).mkdir(exist_ok=True)
    manifest.save(out)
    if opened.bad_data:
        write_bad_rows(bad_rows_file(out, _OF_DATA), opened.bad_data)
    job = _job(opened, out, workplace, kept)
    began = time.perf_counter()
    kept_there = f"what is scored is kept in {plan.out}"
    with kept_when_interrupted(f"{kept_there}; the same command goes on"), _in_words(f"; {kept_there}"):
        scored = _run(engine, job, inputs, missing, plan.top if plan.index else 1)
        seconds = time.perf_counter() - began
        with WorkProgress(transient=True) as progress:
            task = progress.add_task("counting", total=len(inputs.slices))
            totals = finish(out, workplace, manifest.run, inputs, kept, lambda count: progress.advance(task, count))
    if not totals.pairs and totals.bad:
        raise BadInput(f"{plan.given}: no row could be used; the reasons are in {plan.out / BAD_ROWS}")
    manifest.model_copy(update={"finished": totals}).save(out)
    return ScoringReport(plan.out, totals, scored, seconds, str(opened.prepared), other_model)


def _run(engine: Engine, job: ScoringJob, inputs: Inputs, missing: Sequence[InputSlice], pairs_of_a_row: int) -> int:
    """Let an engine score what is missing, and show how far it is; return how many pairs it had."""
    if not missing:
        return 0
    waiting = {one.shard: one.part.rows * pairs_of_a_row for one in missing}
    total = inputs.rows * pairs_of_a_row
    pairs = 0
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("scoring", total=total, completed=total - sum(waiting.values()))

        def done(figures: ShardFigures) -> None:
            nonlocal pairs
            pairs += figures.pairs
            waiting.pop(figures.shard, None)  # Ray may do one again whose worker died after its last step
            progress.update(task, completed=total - sum(waiting.values()))

        engine(job, missing, lambda count: progress.advance(task, count), done)
    return pairs


def _opened(plan: ScoringPlan, workplace: Path) -> _OpenedPlan:
    prepared = prepare_scorer(plan.model, plan.backend, plan.adapter, plan.dtype)
    inputs = Inputs.read(plan.given, AskedQuery if plan.index else PairRow, plan.shard_rows)
    joined: Sequence[FileRecord] = ()
    bad: list[BadRow] = []
    index, top = None, None
    source: Source = PairFiles(None)
    if plan.index is not None:
        from gen_rerank.offline.index_source import IndexedQueries, index_hash

        index, top = index_hash(plan.index), plan.top
        source = IndexedQueries(plan.index.resolve(), plan.top, index)
    elif plan.data is not None:
        file = workplace / "texts"
        joined, bad = read_texts(plan.data, file)
        source = PairFiles(file)
    files = tuple(FileRecord(name=one.name, sha256=one.sha256, rows=one.rows) for one in inputs.files)
    model = ScoringModel(
        name=plan.model,
        adapter=plan.adapter,
        backend=prepared.backend,
        dtype=prepared.dtype,
        fingerprint=fingerprint_of(prepared),
        thresholds=prepared.calibration.thresholds,
    )
    data = ScoredData(files=files, joined=tuple(joined), index=index, top=top, shard_rows=plan.shard_rows)
    return _OpenedPlan(plan, prepared, inputs, source, Manifest(model=model, data=data), bad)


def _job(opened: _OpenedPlan, out: Path, workplace: Path, kept: Path | None) -> ScoringJob:
    shards = workplace / "shards"
    shards.mkdir()
    return ScoringJob(
        run=opened.manifest.run,
        model=_from_the_root(opened.plan.model),
        adapter=None if opened.plan.adapter is None else _from_the_root(opened.plan.adapter),
        backend=opened.prepared.backend,
        dtype=opened.prepared.dtype,
        fingerprint=opened.manifest.model.fingerprint,
        out=out,
        workplace=shards,
        source=opened.source,
        kept=kept,
    )


def _from_the_root(name: str) -> str:
    """Return a folder's whole path, which means the same in every process; a hub name stays."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _kept(plan: ScoringPlan, manifest: Manifest, workplace: Path) -> tuple[Path | None, bool]:
    """Return where the scores of the earlier run are made ready, and whether they are another model's."""
    if plan.reuse is None:
        return None, False
    earlier = read_manifest(plan.reuse)
    if earlier is None:
        raise BadInput(f"{plan.reuse}: holds no scores of gen-rerank score; --reuse names the folder of an earlier run")
    if earlier.model.fingerprint != manifest.model.fingerprint:
        return None, True
    shards = sorted((plan.reuse / SCORES).glob("*.parquet"))
    rows = sum(said.pairs for said in map(figures_of, shards) if said is not None)
    keep_scores(shards, rows, workplace / "kept")
    return workplace / "kept", False


@contextmanager
def _in_words(kept: str = "") -> Iterator[None]:
    """Say in one sentence what stops a run, and what is kept.

    Raises:
        BadInput: something did that is no bug.
    """
    try:
        yield
    except Exception as error:
        said = trouble(error)
        if said is None:
            raise
        raise BadInput(said + kept) from error
