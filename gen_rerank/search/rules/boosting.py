"""Boosts that a score's own uncertainty bounds: none lifts a product over one that is better beyond doubt.

Two products' relevances are drawn from their distributions, independently. Where the one is better in 95% of the draws
or more, it is better beyond doubt, and stays in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gen_rerank.bins import BIN_COUNT
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.file import Boost

BEYOND_DOUBT = 0.95


@dataclass(frozen=True)
class Boosted:
    """A list behind the boosts.

    Attributes:
        hits: in the new order.
        by: what each product's score was raised by, and by what it was meant, by id; those that were meant alone.
        keys: the raised scores, in the new order.
    """

    hits: tuple[Hit, ...]
    by: dict[str, tuple[float, str]]
    keys: Doubles


def boosted(hits: Sequence[Hit], boosts: Sequence[Boost]) -> Boosted:
    """Return hits by their raised scores, where no doubt forbids it; equal ones stay in order.

    Each product moves up, past one after the other, while its raised score is larger and the other one is not better
    beyond doubt. So a pair in which one is better beyond doubt is never turned round, by whatever way.

    Args:
        hits: best first, with distributions.
        boosts: what several say of one product adds up.
    """
    raised: dict[str, tuple[float, str]] = {}
    free = set()
    for hit in hits:
        meant = [(boost, by) for boost in boosts if (by := boost.why(hit.product)) is not None]
        if meant:
            raised[hit.product.product_id] = (sum(boost.by for boost, _ in meant), meant[0][1])
        if any(boost.beyond_doubt for boost, _ in meant):
            free.add(hit.product.product_id)
    better = better_than([hit.distribution or () for hit in hits])
    keys = np.array([(hit.score or 0.0) + raised.get(hit.product.product_id, (0.0, ""))[0] for hit in hits])
    is_free = [hit.product.product_id in free for hit in hits]
    order: list[int] = []
    for i in range(len(hits)):
        place = len(order)
        while place and keys[i] > keys[order[place - 1]]:
            other = order[place - 1]
            if better[other, i] >= BEYOND_DOUBT and not (is_free[i] or is_free[other]):
                break
            place -= 1
        order.insert(place, i)
    return Boosted(tuple(hits[i] for i in order), raised, keys[order])


def better_than(distributions: Sequence[Sequence[float]]) -> Doubles:
    """Return how likely it is that each product is more relevant than each other one, `[n, n]`.

    Args:
        distributions: `[n, 11]`, the probabilities of the bins.

    Example:
        >>> sure, unsure = np.eye(11)[6], np.full(11, 1 / 11)
        >>> round(float(better_than([sure, unsure])[0, 1]), 3)  # the unsure one is below 0.6 in six of eleven
        0.545
    """
    rows = np.asarray(distributions, dtype=np.float64).reshape(len(distributions), BIN_COUNT)
    below = np.cumsum(rows, axis=1) - rows
    return rows @ below.T
