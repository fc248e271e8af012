"""What an index lacks of the products that are judged relevant: no retrieval and no reranker can bring it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation.intervals import Interval, bootstrap
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.retrieval_measures import ndcg_of_found
from gen_rerank.search.headroom import FIRST
from gen_rerank.search.index import ProductIndex


@dataclass(frozen=True, eq=False)
class Absent:
    """The products that are judged above relevance 0 and are not in the index.

    Attributes:
        products: how many.
        judged: how many are judged above relevance 0.
        loss: by query, what the best order of the products that are there lacks to nDCG@10 of 1, `[queries]`.
    """

    products: int
    judged: int
    loss: Doubles

    def interval(self) -> Interval:
        """Return the mean loss."""
        return bootstrap(self.loss)

    def sentence(self) -> str:
        """Return it in words.

        Example:
            >>> Absent(1, 4, np.array([0.25, 0.25])).sentence()
            '1 of 4 products above relevance 0 are not in the index, which costs 0.250 of nDCG@10'
        """
        return (
            f"{self.products:,} of {self.judged:,} products above relevance 0 are not in the index, which costs "
            f"{self.interval()} of nDCG@{FIRST}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return its figures."""
        return {
            "products": self.products,
            "of_judged_above_0": self.judged,
            f"loss of nDCG@{FIRST}": [round(value, 6) for value in self.interval().to_json()],
        }


def absent_products(index: ProductIndex, dataset: Dataset, query_ids: Sequence[str]) -> Absent:
    """Return what an index lacks for some queries.

    Args:
        index: that is asked.
        dataset: has the judgments.
        query_ids: of queries with a relevance above 0, one at least.

    Example:
        >>> absent_products(ProductIndex.open("runs/index"), dataset, ["q1"]).products  # doctest: +SKIP
        0
    """
    judged = dataset.by_query()
    relevant = {row.product_id for key in query_ids for row in judged[key] if row.relevance > 0}
    gone = index.gone(relevant)
    loss = []
    for key in query_ids:
        rows = judged[key]
        there = sorted((row.relevance for row in rows if row.product_id not in gone), reverse=True)
        every = np.array([row.relevance for row in rows], dtype=np.float64)
        loss.append(1.0 - ndcg_of_found(np.array(there, dtype=np.float64), every, FIRST) if gone else 0.0)
    return Absent(len(gone), len(relevant), np.array(loss))
