"""Measures of what a retriever finds for one query: recall, and nDCG of an order in which products are missing.

What was found may be unjudged, and what was judged may not be found: both cost here. A ranking is `[n]` relevance
values, best place first, NaN for a product that nobody judged. Which index, lists and orders there are, others know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from gen_rerank.evaluation.metrics import Doubles


def recall(found: Sequence[str], relevant: Collection[str], depth: int) -> float:
    """Return the share of the relevant products among the first `depth` that were found; NaN where none is relevant.

    Example:
        >>> recall(["a", "b", "c"], {"c", "d"}, 3)
        0.5
    """
    if not relevant:
        return float("nan")
    return len(set(relevant) & set(found[:depth])) / len(relevant)


def random_recall(products: int, held: int, relevant: int, depth: int) -> float:
    """Return the expected recall of `depth` products drawn from an index; NaN where none is relevant.

    Args:
        products: how many the index holds.
        held: how many of the relevant products it holds.
        relevant: how many there are.
        depth: how many are drawn.

    Example:
        >>> random_recall(products=100, held=1, relevant=2, depth=10)
        0.05
    """
    if not relevant:
        return float("nan")
    return min(depth / products, 1.0) * held / relevant


def ndcg_of_found(ranking: Doubles, judged: Doubles, cutoff: int) -> float:
    """Return nDCG of the first `cutoff` places, with linear gain and a log2(rank + 1) discount, as in `metrics`.

    The ideal order is that of all judged products, found or not, so that a missed one costs. Unjudged products have no
    gain, which makes it a lower bound.

    Args:
        ranking: `[n]`, NaN where unjudged.
        judged: the relevance of every judged product of the query, in any order.
        cutoff: how many places count.

    Returns:
        in [0, 1]; NaN where no judged product has a relevance above 0.

    Example:
        >>> round(ndcg_of_found(np.array([np.nan, 1.0]), np.array([1.0, 0.0]), 10), 3)
        0.631
    """
    best = _gain(np.sort(judged)[::-1], cutoff)
    return _gain(np.nan_to_num(ranking, nan=0.0), cutoff) / best if best > 0 else float("nan")


def judged_only(ranking: Doubles) -> Doubles:
    """Return a ranking without its unjudged products, whose places the next ones take.

    This is the condensed list of Sakai ("Alternatives to bpref", SIGIR 2007): the other way to treat unjudged products,
    which supposes that nobody would have minded them.

    Example:
        >>> judged_only(np.array([np.nan, 0.5, np.nan, 1.0])).tolist()
        [0.5, 1.0]
    """
    return ranking[~np.isnan(ranking)]


def random_ndcg(ranking: Doubles, judged: Doubles, cutoff: int) -> float:
    """Return the expected `ndcg_of_found` over all orders of the same products.

    Example:
        >>> round(random_ndcg(np.array([1.0, 0.0]), np.array([1.0, 0.0]), 10), 3)
        0.815
    """
    if not len(ranking):
        return ndcg_of_found(ranking, judged, cutoff)
    mean = np.nan_to_num(ranking, nan=0.0).mean()
    return ndcg_of_found(np.full(len(ranking), mean), judged, cutoff)


def oracle_order(ranking: Doubles) -> list[int]:
    """Return the places of a ranking in the best order: by relevance, the unjudged as 0; equal ones stay in order.

    Example:
        >>> oracle_order(np.array([np.nan, 0.2, 0.0, 1.0]))
        [3, 1, 0, 2]
    """
    return np.argsort(-np.nan_to_num(ranking, nan=0.0), kind="stable").tolist()


def _gain(gains: Doubles, cutoff: int) -> float:
    first = gains[:cutoff]
    return float((first / np.log2(np.arange(2, len(first) + 2))).sum())
