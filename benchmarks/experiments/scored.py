"""Requests about a made-up shop with the scores that they must get, computed before by plain transformers.

An answer that was lost, swapped or mixed shows in them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair, Product
from gen_rerank.data.sample import make_sample
from gen_rerank.scorers.transformers import TransformersScorer

# Scores in float32 agree to 1e-4; two products of this shop differ by far more.
SAME = 1e-3


@dataclass(frozen=True)
class ScoredRequest:
    """A request with the scores that it must get.

    Attributes:
        query: what is looked for.
        products: the candidates.
        scores: of each, computed offline.
    """

    query: str
    products: tuple[Product, ...]
    scores: tuple[float, ...]

    def body(self, model: str | None = None) -> dict[str, Any]:
        """Return the request as the server reads it."""
        documents = [product.model_dump(exclude_none=True) for product in self.products]
        return {"query": self.query, "documents": documents} | ({} if model is None else {"model": model})

    def difference(self, answer: dict[str, Any]) -> float:
        """Return the largest difference of a score in an answer; infinite when results are missing."""
        given = scores_of(answer)
        if len(given) != len(self.scores):
            return float("inf")
        return max(abs(a - b) for a, b in zip(given, self.scores, strict=True))


def scores_of(answer: dict[str, Any]) -> list[float]:
    """Return an answer's scores in the order of the documents.

    Example:
        >>> scores_of({"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]})
        [0.2, 0.9]
    """
    return [result["relevance_score"] for result in sorted(answer["results"], key=lambda result: result["index"])]


class ScoredTraffic:
    """Requests about a made-up shop, each with other products.

    Args:
        model: a checkpoint folder; its scores are computed here, by transformers in float32.
        requests: how many.
        documents: of each.
        seed: decides which.
    """

    def __init__(self, model: Path, requests: int, documents: int, seed: int = 0) -> None:
        self.model = model
        shop = make_sample(seed, 1000, 300)
        products, judged = list(shop.products.values()), shop.by_query()
        rng = random.Random(f"{seed} traffic")
        self._drawn: list[tuple[str, tuple[Product, ...]]] = []
        for _ in range(requests):
            # Half of the candidates are judged ones, so that a request has high and low scores at places of its own.
            query = shop.queries[rng.choice(list(judged))]
            drawn = [shop.products[row.product_id] for row in judged[query.query_id]][: documents // 2]
            drawn += rng.sample(products, documents - len(drawn))
            rng.shuffle(drawn)
            self._drawn.append((query.text, tuple(drawn)))
        self.requests = self.scored(TransformersScorer(Checkpoint.open(model)))

    def least_distance(self) -> float:
        """Return how far apart the most alike two requests' scores are: what a swapped answer would show at least."""
        scores = np.array([asked.scores for asked in self.requests])
        distances = np.abs(scores[:, None] - scores[None, :]).max(axis=2)
        return float(distances[np.triu_indices(len(scores), 1)].min())

    def scored(self, scorer: TransformersScorer) -> list[ScoredRequest]:
        """Return the requests with the scores that `scorer` gives them."""
        scores = scorer.score([Pair(query, product) for query, drawn in self._drawn for product in drawn]).mean.tolist()
        left = iter(scores)
        return [ScoredRequest(query, drawn, tuple(next(left) for _ in drawn)) for query, drawn in self._drawn]
