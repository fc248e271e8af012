"""The floors beside every figure: random order and BM25. What a figure is worth is what it is above them."""

from __future__ import annotations

import numpy as np

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import product_text
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from gen_rerank.evaluation.metrics import Doubles

_RANDOM, _BM25 = FLOORS = ("random", "bm25")


def evaluate_floors(dataset: Dataset) -> list[Evaluation]:
    """Return the evaluations of random order and of BM25."""
    return [evaluate(_RANDOM, dataset, random_scores(dataset)), evaluate(_BM25, dataset, bm25_scores(dataset))]


def random_scores(dataset: Dataset, seed: int = 0) -> Doubles:
    """Return a random score for each judgment, `[n]` in [0, 1): the floor that says what a figure is worth."""
    return np.random.default_rng(seed).random(len(dataset.judgments))


def bm25_scores(dataset: Dataset) -> Doubles:
    """Return the BM25 score of each judgment, `[n]`; the statistics are those of all the data set's products."""
    from gen_rerank.bm25 import BM25

    index = BM25([product_text(product) for product in dataset.products.values()])
    place = {product_id: i for i, product_id in enumerate(dataset.products)}
    found = np.zeros(len(dataset.judgments))
    rows_of: dict[str, list[int]] = {}
    for i, row in enumerate(dataset.judgments):
        rows_of.setdefault(row.query_id, []).append(i)
    for query_id, rows in rows_of.items():
        scores = index.scores(dataset.queries[query_id].text)
        found[rows] = scores[[place[dataset.judgments[i].product_id] for i in rows]]
    return found
