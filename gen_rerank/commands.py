"""What the commands `score` and `evaluate` do between parsing and printing: open, score, measure, write.

`compare` reads its split, scores and says what it left out in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gen_rerank.bins import Distribution
from gen_rerank.data.records import BadRow, Dataset, Pair, Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import Evaluation, bm25_scores, difference, evaluate, random_scores, write_scores
from gen_rerank.evaluation.tables import difference_table, ranking_table, reliability_table, slices_table
from gen_rerank.scorers import Backend, Scorer, open_scorer

_CHUNK = 2048


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
    """The tables of an evaluation, and the rows that were left out of its data."""

    tables: tuple[Table, ...]
    bad_rows: tuple[BadRow, ...]


def score_split(
    model: str, data: Path, split: str, backend: str, skip_bad_rows: bool, out: Path, *, adapter: str | None = None
) -> Scored:
    """Score the judged pairs of a split and write them.

    Raises:
        BadInput: bad data, an empty split, or a refused checkpoint or adapter.
    """
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
        BadInput: as `score_split`.
    """
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
    tables = (
        ranking_table(systems),
        difference_table({f"{name} - {floor.name}": difference(report, floor) for floor in floors}),
        slices_table(systems, "nDCG@5"),
        reliability_table(report),
    )
    return Report(tables, dataset.bad_rows)


def evaluate_floors(dataset: Dataset) -> list[Evaluation]:
    """Return the evaluations of random order and of BM25."""
    return [evaluate("random", dataset, random_scores(dataset)), evaluate("bm25", dataset, bm25_scores(dataset))]


def judged_split(data: Path, split: str, skip_bad_rows: bool = False) -> Dataset:
    """Return one split of a data set folder.

    Raises:
        BadInput: no such split, bad data, or nothing judged in it.
    """
    if split not in get_args(Split):
        raise BadInput(f"there is no split {split!r}; choose one of {', '.join(get_args(Split))}")
    dataset = Dataset.load(data, skip_bad_rows=skip_bad_rows)
    part = dataset.of(cast(Split, split))
    if not part.judgments:
        raise BadInput(f"{data}: no query of the split {split!r} has a judgment")
    return part


def say_skipped(console: Console, bad_rows: Sequence[BadRow]) -> None:
    """List the rows that were left out, and count them."""
    for row in bad_rows:
        console.print(f"left out {row}", markup=False, highlight=False, soft_wrap=True)
    if bad_rows:
        console.print(f"{len(bad_rows)} bad row{'s' if len(bad_rows) > 1 else ''} left out")


def scoring_bar(console: Console | None = None) -> Progress:
    """Return the bar that `score_pairs` moves; it is gone when it is done."""
    name = TextColumn("{task.description}", markup=False)  # a folder's
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def score_pairs(scorer: Scorer, pairs: Sequence[Pair], progress: Progress, name: str = "scoring") -> Distribution:
    """Return one distribution a pair, in order, and show how far it is under `name`."""
    task = progress.add_task(name, total=len(pairs))
    parts = []
    for first in range(0, len(pairs), _CHUNK):
        chunk = pairs[first : first + _CHUNK]
        parts.append(scorer.score(chunk))
        progress.advance(task, len(chunk))
    return Distribution.concatenate(parts)


def _score(scorer: Scorer, dataset: Dataset) -> tuple[Distribution, Scored]:
    pairs = [dataset.pair(row) for row in dataset.judgments]
    start = time.perf_counter()
    with scoring_bar() as progress:
        distribution = score_pairs(scorer, pairs, progress)
    return distribution, Scored(len(pairs), time.perf_counter() - start, dataset.bad_rows)
