"""What a system says of a split: its ranking where there is something to rank, its distributions everywhere.

Many queries of these shops have a handful of judged products, which any order ranks well. So ranking is measured on the
queries with ten or more, and RPS and ECE, which need no order, on all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.scores import read_scores
from gen_rerank.system.steps import Steps
from harness.bi_encoder import bi_encoder_scores
from harness.steps import SCRIPTS, CommandSteps
from train.encoder import EncoderRecipe

RANDOM, BM25, BI_ENCODER = "random", "BM25", "MiniLM bi-encoder"
LEAST_PRODUCTS = 10


@dataclass(frozen=True, eq=False)
class RealSystem:
    """A system on one split.

    Attributes:
        name: of it, for tables.
        deep: its evaluation on the queries with ten or more judged products.
        whole: on all queries.
        pairs_per_second: scored; opening the model is counted for MiniLM alone. None where it says nothing.
        scored_with: backend and number type; empty for floors.
    """

    name: str
    deep: Evaluation
    whole: Evaluation
    pairs_per_second: float | None = None
    scored_with: str = ""


def deep_queries(dataset: Dataset, least: int = LEAST_PRODUCTS) -> Dataset:
    """Return a data set with only the queries that have so many judged products.

    Raises:
        BadInput: there is none.
    """
    count = Counter(row.query_id for row in dataset.judgments)
    queries = {key: row for key, row in dataset.queries.items() if count[key] >= least}
    if not queries:
        raise BadInput(f"no query has {least} judged products, so that there is no ranking to measure")
    judgments = tuple(row for row in dataset.judgments if row.query_id in queries)
    return Dataset(dataset.products, queries, judgments)


def real_system(
    name: str,
    dataset: Dataset,
    scores: Distribution | Doubles,
    pairs_per_second: float | None = None,
    scored_with: str = "",
) -> RealSystem:
    """Return what a system says.

    Args:
        name: of it.
        dataset: one split.
        scores: one row a judgment, in order.
        pairs_per_second: with which they were made.
        scored_with: backend and number type.
    """
    deep = deep_queries(dataset)
    places = np.array([i for i, row in enumerate(dataset.judgments) if row.query_id in deep.queries])
    whole = evaluate(name, dataset, scores)
    return RealSystem(name, evaluate(name, deep, scores[places]), whole, pairs_per_second, scored_with)


def scored(
    steps: CommandSteps, step: str, name: str, model: Path, data: Path, split: str, dataset: Dataset, backend: str
) -> RealSystem:
    """Score a split by the command that a user types, unless that is done, and measure it.

    Args:
        steps: that are kept.
        step: the name of this one, and of its scores file.
        name: of the system.
        model: a checkpoint.
        data: its folder.
        split: of it.
        dataset: that split.
        backend: that scores.
    """
    file = steps.folder / "scores" / f"{step}.jsonl"
    command = ("gen-rerank", "score", model, data, "--split", split, "--backend", backend)
    told = steps.read(step, file, *command)
    distribution = read_scores(file).of(dataset)
    return real_system(name, dataset, distribution, told["pairs_per_second"], told["scored_with"])


def floors(dataset: Dataset, steps: Steps) -> list[RealSystem]:
    """Return random order, BM25 and MiniLM's bi-encoder as it comes, which reads what a MiniLM cross-encoder reads.

    Args:
        dataset: one split.
        steps: beside whose file the bi-encoder's cosines are kept.
    """
    spec = EncoderRecipe.load(SCRIPTS / "recipes" / "minilm.yaml").prompt
    start = time.perf_counter()
    bm25 = bm25_scores(dataset)
    speed = len(bm25) / (time.perf_counter() - start)
    cosines, cosine_speed = _kept(steps, dataset, lambda: bi_encoder_scores(dataset, spec))
    return [
        real_system(RANDOM, dataset, random_scores(dataset)),
        real_system(BM25, dataset, bm25, speed),
        real_system(BI_ENCODER, dataset, cosines, cosine_speed),
    ]


def _kept(steps: Steps, dataset: Dataset, score: Callable[[], Doubles]) -> tuple[Doubles, float]:
    """Return scores and their pairs a second; what was scored of this data before is not scored again."""
    step = f"bi_encoder {dataset.fingerprint}"
    file = steps.file.parent / "scores" / f"bi_encoder-{dataset.fingerprint}.npy"
    done = steps.kept(step, "")
    if done is None or not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        scores = score()
        speed = len(scores) / (time.perf_counter() - start)
        np.save(file, scores)
        steps.record(step, "", len(scores) / speed, pairs_per_second=speed)
        return scores, speed
    return np.load(file), done["pairs_per_second"]
