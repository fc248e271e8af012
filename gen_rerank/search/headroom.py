"""What is lost in retrieval and what in ordering: nDCG of the first 16, 64 and 256 candidates in four orders.

As they were retrieved, by a model, by an oracle that knows every judgment, and at random. The ideal is that of all
judged products of a query, so what the oracle lacks was not retrieved. Unjudged products have no gain; beside that
stands the other treatment, without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen_rerank.bins import best_first
from gen_rerank.evaluation.intervals import Interval, bootstrap, paired
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.retrieval_measures import judged_only, ndcg_of_found, oracle_order, random_ndcg
from gen_rerank.search.recall import DEPTHS

RANDOM, RETRIEVED, RERANKED, ORACLE = ORDERS = ("random", "retrieved", "reranked", "oracle")
# Without unjudged products; the oracle's nDCG is the same with and without them.
CONDENSED = {
    RANDOM: "random, judged only",
    RETRIEVED: "retrieved, judged only",
    RERANKED: "reranked, judged only",
}
CUTOFFS = (5, 10)
FIRST = max(CUTOFFS)
DEEPEST = max(DEPTHS)

# By row and depth, one value a query.
Values = dict[str, dict[int, Doubles]]


@dataclass(frozen=True, eq=False)
class RankedQuery:
    """The candidates of one query, in the order in which they were retrieved.

    Attributes:
        query_id: of the query.
        judged: the relevance of all its judged products, `[m]`; one of them is above 0.
        found: the relevance of each candidate, `[n]`; NaN where it is not judged.
        scores: what the model gave it, `[n]`.
    """

    query_id: str
    judged: Doubles
    found: Doubles
    scores: Doubles

    def orders(self, depth: int) -> dict[str, Doubles]:
        """Return the relevance of the first `depth` candidates in each order, best place first.

        Example:
            >>> one = RankedQuery("q", np.array([1.0]), np.array([np.nan, 1.0]), np.array([0.1, 0.9]))
            >>> one.orders(16)["reranked"].tolist()
            [1.0, nan]
        """
        first, scores = self.found[:depth], self.scores[:depth]
        return {RETRIEVED: first, RERANKED: first[best_first(scores)], ORACLE: first[oracle_order(first)]}


@dataclass(frozen=True, eq=False)
class Headroom:
    """What each order is worth.

    Attributes:
        query_ids: of the queries with a relevance above 0.
        candidates: how many candidates they have together.
        values: by cutoff of nDCG, row (an order, or one of judged products only) and depth, `[queries]`.
        unjudged: by order and depth, the share of the unjudged among the first 10; random order stands for all
            candidates.
    """

    query_ids: tuple[str, ...]
    candidates: int
    values: dict[int, Values]
    unjudged: dict[str, dict[int, float]]

    def interval(self, row: str, depth: int, cutoff: int = FIRST) -> Interval:
        """Return the mean nDCG of a row with its interval."""
        return bootstrap(self.values[cutoff][row][depth])

    def gain(self, row: str, over: str, depth: int = DEEPEST, over_depth: int | None = None) -> Interval:
        """Return the paired difference of nDCG@10 between two rows, or between two depths."""
        values = self.values[FIRST]
        return paired(values[row][depth], values[over][over_depth or depth])

    def missed(self, depth: int = DEEPEST) -> Interval:
        """Return what the oracle lacks to 1: the headroom of retrieval, where the index holds all that is relevant."""
        return bootstrap(self.missing(depth))

    def missing(self, depth: int = DEEPEST) -> Doubles:
        """Return what the oracle lacks to 1, by query, `[queries]`."""
        return 1.0 - self.values[FIRST][ORACLE][depth]

    def retrieval_over_reranking(self, row: str = RERANKED, depth: int = DEEPEST) -> Interval:
        """Return the headroom of retrieval minus that of reranking, paired.

        Args:
            row: the model's, with or without unjudged products.
            depth: how many candidates.
        """
        values = self.values[FIRST]
        oracle = values[ORACLE][depth]
        return paired(1.0 - oracle, oracle - values[row][depth])

    def to_json(self) -> dict[str, Any]:
        """Return all figures, with their definitions, and nDCG@10 by query."""
        return {
            "measure": "nDCG of the first k candidates, linear gain, log2(rank + 1) discount; the ideal is that of all "
            "judged products; unjudged ones count as not relevant, which makes it a lower bound; 'judged only' leaves "
            "them out; undefined without any relevance above 0",
            "queries": len(self.query_ids),
            "candidates": self.candidates,
            **{
                f"nDCG@{cutoff}": {row: _by_depth(found) for row, found in rows.items()}
                for cutoff, rows in self.values.items()
            },
            f"differences of nDCG@{FIRST}": {
                "reranked - retrieved": _figures((k, self.gain(RERANKED, RETRIEVED, k)) for k in DEPTHS),
                "oracle - reranked": _figures((k, self.gain(ORACLE, RERANKED, k)) for k in DEPTHS),
                "1 - oracle": _figures((k, self.missed(k)) for k in DEPTHS),
                "(1 - oracle) - (oracle - reranked)": _figures(
                    (k, self.retrieval_over_reranking(depth=k)) for k in DEPTHS
                ),
            },
            f"unjudged among the first {FIRST}": {
                order: {str(k): round(share, 6) for k, share in row.items()}
                for order, row in self.unjudged.items()
                if order != RANDOM
            },
            "unjudged among all candidates": {str(k): round(share, 6) for k, share in self.unjudged[RANDOM].items()},
            "query_ids": list(self.query_ids),
            "per_query": {
                row: {str(k): values.tolist() for k, values in found.items()}
                for row, found in self.values[FIRST].items()
            },
        }


def headroom(queries: Iterable[RankedQuery]) -> Headroom:
    """Return what each order of some queries is worth; they are taken one by one, and only figures are kept.

    Args:
        queries: one at least.

    Example:
        >>> one = RankedQuery("q", np.array([1.0]), np.array([np.nan, 1.0]), np.array([0.1, 0.9]))
        >>> found = headroom([one])
        >>> round(found.interval("retrieved", 16).mean, 3), found.interval("reranked", 16).mean
        (0.631, 1.0)
    """
    query_ids: list[str] = []
    candidates = 0
    values: dict[tuple[int, str, int], list[float]] = {}
    unjudged: dict[tuple[str, int], list[int]] = {}
    for query in queries:
        query_ids.append(query.query_id)
        candidates += len(query.found)
        for depth in DEPTHS:
            orders = query.orders(depth)
            for cutoff in CUTOFFS:
                for row, value in _ndcg(orders, query.judged, cutoff):
                    values.setdefault((cutoff, row, depth), []).append(value)
            for order, seen in {
                **{name: found[:FIRST] for name, found in orders.items()},
                RANDOM: orders[ORACLE],
            }.items():
                count = unjudged.setdefault((order, depth), [0, 0])
                count[0] += int(np.isnan(seen).sum())
                count[1] += len(seen)
    rows = (*ORDERS, *CONDENSED.values())
    return Headroom(
        tuple(query_ids),
        candidates,
        {cutoff: {row: {k: np.array(values[cutoff, row, k]) for k in DEPTHS} for row in rows} for cutoff in CUTOFFS},
        {order: {k: unjudged[order, k][0] / max(unjudged[order, k][1], 1) for k in DEPTHS} for order in ORDERS},
    )


def _ndcg(orders: dict[str, Doubles], judged: Doubles, cutoff: int) -> Iterator[tuple[str, float]]:
    """Yield each row with its nDCG for one query and depth."""
    for order, ranking in orders.items():
        yield order, ndcg_of_found(ranking, judged, cutoff)
        if order in CONDENSED:
            yield CONDENSED[order], ndcg_of_found(judged_only(ranking), judged, cutoff)
    found = orders[RETRIEVED]
    yield RANDOM, random_ndcg(found, judged, cutoff)
    yield CONDENSED[RANDOM], random_ndcg(judged_only(found), judged, cutoff)


def _by_depth(found: dict[int, Doubles]) -> dict[str, list[float]]:
    return _figures((depth, bootstrap(values)) for depth, values in found.items())


def _figures(found: Iterable[tuple[int, Interval]]) -> dict[str, list[float]]:
    return {str(depth): [round(value, 6) for value in interval.to_json()] for depth, interval in found}
