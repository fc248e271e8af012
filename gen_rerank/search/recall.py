"""How many of the relevant products the lists of an index find, each list alone and fused, beside two floors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen_rerank.bm25 import BM25
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import product_text
from gen_rerank.evaluation.intervals import Interval, bootstrap
from gen_rerank.evaluation.metrics import RELEVANT_FROM, Doubles
from gen_rerank.evaluation.retrieval_measures import random_recall, recall
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.tables import WideTable
from gen_rerank.search.index import ProductIndex

DEPTHS = (16, 64, 256)
_RANDOM, _BM25, _FUSED = "random", "bm25", "fused"
_RELEVANT = f"rel>={RELEVANT_FROM}"


@dataclass(frozen=True)
class RecallReport:
    """Recall of judged relevant products, which are those of relevance 0.8 or more.

    Attributes:
        values: by list and depth, `[queries]`; NaN for a query that has no relevant product.
        queries: how many have one.
        without: how many have none, and are left out.
        relevant: how many products are relevant, each counted for each of its queries.
        missing: how many of those the index does not hold; they count as missed.
    """

    values: dict[str, dict[int, Doubles]]
    queries: int
    without: int
    relevant: int
    missing: int

    @property
    def intervals(self) -> dict[str, dict[int, Interval]]:
        """By list and depth; empty where no query has a relevant product."""
        if not self.queries:
            return {}
        return {name: {k: bootstrap(x) for k, x in row.items()} for name, row in self.values.items()}

    def table(self) -> WideTable:
        """Return one row a list, one column a depth."""
        table = WideTable(
            f"Recall of relevant products ({_RELEVANT}): {self.queries:,} queries, {self.relevant:,} pairs",
            f"mean [95% bootstrap interval over queries]; {self._floors()}",
            "List",
            [f"recall@{depth}({_RELEVANT})" for depth in DEPTHS],
        )
        for name, row in self.intervals.items():
            table.add_row(name, [str(row[depth]) for depth in DEPTHS])
        return table

    def remarks(self) -> Iterator[str]:
        """Yield what was left out, and what counts as missed."""
        if self.without:
            yield (
                f"{self.without:,} of {self.without + self.queries:,} queries have no relevant product and are left "
                "out of recall"
            )
        if self.missing:
            yield (
                f"{self.missing:,} of {self.relevant:,} relevant products are not in the index; they count as missed"
            )

    def to_json(self) -> dict[str, Any]:
        """Return all figures, with their definitions."""
        return {
            "measure": f"recall@k({_RELEVANT}): share of a query's relevant products among the first k; relevant is "
            f"{RELEVANT_FROM} or more",
            "queries": self.queries,
            "queries_without_relevant": self.without,
            "relevant": self.relevant,
            "relevant_not_in_index": self.missing,
            "lists": {
                name: {str(depth): [round(x, 6) for x in found.to_json()] for depth, found in row.items()}
                for name, row in self.intervals.items()
            },
        }

    def _floors(self) -> str:
        if _BM25 in self.values:
            return "floors: random products of the index, plain BM25 over all their words"
        return "floor: random products of the index; no BM25, because the index holds other products than the data"


def recall_report(index: ProductIndex, dataset: Dataset) -> RecallReport:
    """Return what the lists of an index find for the judged queries of a data set.

    Args:
        index: that is asked.
        dataset: one split; products that the index does not hold count as missed.

    Example:
        >>> recall_report(ProductIndex.open("runs/index"), dataset).intervals["fused"][64]  # doctest: +SKIP
        Interval(mean=0.93, low=0.91, high=0.95)
    """
    judged = dataset.by_query()
    relevant = {
        query_id: {row.product_id for row in rows if row.relevance >= RELEVANT_FROM}
        for query_id, rows in judged.items()
    }
    known = {query_id: wanted for query_id, wanted in relevant.items() if wanted}
    gone = index.gone(set().union(*known.values()))
    plain = _plain_bm25(index, dataset)
    size, rows = len(index), []
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("retrieving", total=len(known))
        for query_id, wanted in known.items():
            found = _found(index, dataset.queries[query_id].text)
            if plain is not None:
                found = {_BM25: plain.first(dataset.queries[query_id].text), **found}
            row = {name: [recall(ids, wanted, k) for k in DEPTHS] for name, ids in found.items()}
            floor = [random_recall(size, len(wanted - gone), len(wanted), k) for k in DEPTHS]
            rows.append({_RANDOM: floor, **row})
            progress.advance(task)
    return RecallReport(
        values=_columns(rows),
        queries=len(known),
        without=len(relevant) - len(known),
        relevant=sum(map(len, known.values())),
        missing=sum(len(wanted & gone) for wanted in known.values()),
    )


def _columns(rows: list[dict[str, list[float]]]) -> dict[str, dict[int, Doubles]]:
    names = rows[0] if rows else ()
    return {name: {k: np.array([row[name][place] for row in rows]) for place, k in enumerate(DEPTHS)} for name in names}


def _found(index: ProductIndex, query: str) -> Mapping[str, list[str]]:
    """Return the ids of the first 256 of each list and of the fusion, best first."""
    depth = max(DEPTHS)
    fusion = [one.product.product_id for one in index.candidates(query, depth)]
    return {**index.listed(query, depth), _FUSED: fusion}


@dataclass(frozen=True)
class _PlainBM25:
    """The project's floor over the products of an index."""

    ids: tuple[str, ...]
    index: BM25

    def first(self, query: str) -> list[str]:
        """Return the ids of the best products that have a word of the query."""
        scores = self.index.scores(query)
        best = np.argsort(-scores, kind="stable")[: max(DEPTHS)]
        return [self.ids[place] for place in best.tolist() if scores[place] > 0]


def _plain_bm25(index: ProductIndex, dataset: Dataset) -> _PlainBM25 | None:
    """Return the floor, where the index holds the data's products and no others: else it would have an easier task."""
    if len(index) != len(dataset.products) or index.gone(dataset.products):
        return None
    return _PlainBM25(tuple(dataset.products), BM25([product_text(one) for one in dataset.products.values()]))
