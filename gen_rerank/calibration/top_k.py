"""How likely each product is among the best k, by the distributions of all of them.

Each product's relevance is one of eleven values, drawn from its distribution, and products are independent given the
query; equals are put in order by chance. Given a product's own value, and how lucky it is among its equals, each other
product stands before it with a probability of its own: how many do is a Poisson binomial number, of which only the
counts below k are needed. Two passes over the products, one from each end, give the counts without each one in turn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import BIN_COUNT
from gen_rerank.errors import BadInput

Doubles = npt.NDArray[np.float64]

# Of luck among equals: the chance is a polynomial of it, of a degree below the number of products, and that many points
# of Gauss and Legendre integrate it exactly for 32 products. With more they do nearly.
_MOST_POINTS = 16


def in_top_k(distributions: npt.ArrayLike, k: int) -> Doubles:
    """Return how likely each product is one of the k most relevant, `[n]`; together they are k.

    Exact for up to 32 products; for more, exact but for how equals are put in order, where it is within 0.01 even if
    hundreds are surely alike.

    Args:
        distributions: `[n, 11]`, the probabilities of each product's relevance.
        k: how many places there are, from 1 on.

    Raises:
        BadInput: another shape, or no place.

    Example:
        >>> sure, unsure = np.eye(11)[5], np.full(11, 1 / 11)
        >>> in_top_k([sure, unsure], 1).round(3).tolist()
        [0.5, 0.5]
        >>> in_top_k([np.eye(11)[9], sure, sure], 2).round(3).tolist()
        [1.0, 0.5, 0.5]
    """
    rows = np.asarray(distributions, dtype=np.float64)
    if rows.size == 0:
        return np.zeros(0)
    if rows.ndim != 2 or rows.shape[1] != BIN_COUNT:
        raise BadInput(f"in_top_k needs distributions of shape [n, {BIN_COUNT}], not {list(rows.shape)}")
    if k < 1:
        raise BadInput(f"k is {k}; give a whole number from 1 on")
    if len(rows) <= k:
        return np.ones(len(rows))
    rows = rows / rows.sum(axis=1, keepdims=True)
    luck, share = _points(len(rows))
    above = rows[:, ::-1].cumsum(axis=1)[:, ::-1] - rows
    # `[n, 11, points]`: how likely a product stands before one that has this value and this luck.
    before = np.clip(above[:, :, None] + rows[:, :, None] * luck, 0.0, 1.0)
    reached = _fewer_before(before.reshape(len(rows), -1), k).reshape(before.shape)
    return np.clip((reached @ share * rows).sum(axis=1), 0.0, 1.0)


def _points(products: int) -> tuple[Doubles, Doubles]:
    """Return points in [0, 1] and their weights."""
    places, weights = np.polynomial.legendre.leggauss(min((products + 1) // 2, _MOST_POINTS))
    return (places + 1) / 2, weights / 2


def _fewer_before(before: Doubles, k: int) -> Doubles:
    """Return how likely fewer than k of the others stand before each product, `[n, t]`.

    Args:
        before: `[n, t]`, how likely each product stands before another one, in t cases.
        k: below n.
    """
    cases = before.shape[1]
    counts = np.zeros((len(before), k, cases))  # of the products before this one in the list
    now = np.zeros((k, cases))
    now[0] = 1.0
    for place, chance in enumerate(before):
        counts[place] = now
        now = _one_more(now, chance)
    fewer = np.empty_like(before)
    now = np.zeros((k, cases))  # of those behind it
    now[0] = 1.0
    for place in range(len(before) - 1, -1, -1):
        fewer[place] = (counts[place] * now.cumsum(axis=0)[::-1]).sum(axis=0)
        now = _one_more(now, before[place])
    return fewer


def _one_more(counts: Doubles, chance: Doubles) -> Doubles:
    """Return how likely each count below k is, `[k, t]`, when one more product may stand before."""
    found = counts * (1.0 - chance)
    found[1:] += counts[:-1] * chance
    return found
