"""What the commands `score` and `evaluate` do between parsing and printing: open, score, measure, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.table import Table

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset, judged_split
from gen_rerank.data.records import BadRow
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, difference, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.scores import write_scores
from gen_rerank.evaluation.tables import difference_table, ranking_table, reliability_table, slices_table
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.opening import Backend, open_scorer
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.system.publishing import require_writable_file


@dataclass(frozen=True)
class Scored:
    """How much was scored and how fast, in pairs and seconds; opening the model is not counted."""

    pairs: int
    seconds: float
    bad_rows: tuple[BadRow, ...]

    @property
    def pairs_per_second(self) -> float:
        """The throughput."""
        return self.pairs / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Report:
    """What an evaluation shows: tables, and a line on queries that cannot be ranked; the rows that were left out."""

    shown: tuple[Table | str, ...]
    bad_rows: tuple[BadRow, ...]


def score_split(
    model: str, data: Path, split: str, backend: str, skip_bad_rows: bool, out: Path, *, adapter: str | None = None
) -> Scored:
    """Score the judged pairs of a split and write them.

    Raises:
        BadInput: an `out` that cannot be written, bad data, an empty split, or a refused checkpoint or adapter.
    """
    require_writable_file(out)
    dataset = judged_split(data, split, skip_bad_rows)
    distribution, scored = _score(open_scorer(model, cast(Backend, backend), adapter), dataset)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_scores(out, dataset, distribution)
    return scored


def evaluate_model(
    model: str,
    data: Path,
    split: str,
    backend: str,
    skip_bad_rows: bool,
    out: Path | None,
    scores: Path | None,
    *,
    adapter: str | None = None,
) -> Report:
    """Measure a model beside its floors; return tables, and write JSON where paths are given.

    Raises:
        BadInput: as `score_split`, or the two files are one.
    """
    for path in (out, scores):
        if path is not None:
            require_writable_file(path)
    if out is not None and scores is not None and out.resolve() == scores.resolve():
        raise BadInput(f"{out}: --out and --scores are one file; name two")
    dataset = judged_split(data, split, skip_bad_rows)
    distribution, _ = _score(open_scorer(model, cast(Backend, backend), adapter), dataset)
    name = " + ".join(Path(part).name for part in (model, adapter) if part)
    report = evaluate(name, dataset, distribution)
    floors = evaluate_floors(dataset)
    for path in (out, scores):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if out is not None:
        report.save(out)
    if scores is not None:
        write_scores(scores, dataset, distribution)
    systems = [*floors, report]
    remark = report.unranked.sentence(report.queries)
    shown: tuple[Table | str, ...] = (
        ranking_table(systems),
        *([remark] if remark else []),
        difference_table({f"{name} - {floor.name}": difference(report, floor) for floor in floors}),
        slices_table(systems, HEADLINE),
        reliability_table(report),
    )
    return Report(shown, dataset.bad_rows)


def _score(opened: TokenScorer, dataset: Dataset) -> tuple[Distribution, Scored]:
    """Score all judged pairs; an engine is stopped here and not left to the end of the process."""
    pairs = [dataset.pair(row) for row in dataset.judgments]
    with opened as scorer, WorkProgress(transient=True) as progress:
        start = time.perf_counter()
        distribution = score_pairs(scorer, pairs, progress)
        seconds = time.perf_counter() - start
    return distribution, Scored(len(pairs), seconds, dataset.bad_rows)
