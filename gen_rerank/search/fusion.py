"""Several ranked lists become one by reciprocal ranks (Cormack, Clarke & Büttcher, SIGIR 2009), each with a weight."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

# That of the paper; it says how much the first places weigh more than the next ones.
RANK_CONSTANT = 60


def fused(lists: Sequence[Sequence[Key]], weights: Sequence[float], limit: int) -> list[tuple[Key, float]]:
    """Return the best of all lists with their sums of weight / (60 + rank); of equals, the one that came earlier first.

    Args:
        lists: each best first, without repetition.
        weights: of the lists, above 0; the paper's are 1.
        limit: how many are returned at most.

    Example:
        >>> [key for key, _ in fused([["a", "b"], ["b", "c"]], [1, 1], 2)]
        ['b', 'a']
    """
    sums: dict[Key, float] = {}
    for ranked, weight in zip(lists, weights, strict=True):
        for rank, key in enumerate(ranked, start=1):
            sums[key] = sums.get(key, 0.0) + weight / (RANK_CONSTANT + rank)
    return sorted(sums.items(), key=lambda item: -item[1])[:limit]
