"""Several ranked lists become one by reciprocal ranks (Cormack, Clarke & Büttcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

# That of the paper; it says how much the first places weigh more than the next ones.
RANK_CONSTANT = 60


def fused(lists: Sequence[Sequence[Key]], limit: int) -> list[tuple[Key, float]]:
    """Return the best of all lists with their sums of 1 / (60 + rank); of equals, the one that came earlier first.

    Args:
        lists: each best first, without repetition.
        limit: how many are returned at most.

    Example:
        >>> [key for key, _ in fused([["a", "b"], ["b", "c"]], 2)]
        ['b', 'a']
    """
    sums: dict[Key, float] = {}
    for ranked in lists:
        for rank, key in enumerate(ranked, start=1):
            sums[key] = sums.get(key, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(sums.items(), key=lambda item: -item[1])[:limit]


def limit_that_holds(lists: int, depth: int) -> int:
    """Return a limit of `fused` under which the first `depth` of each list are surely among what comes out.

    One of them has at least 1 / (60 + depth); what is ahead of it has as much, so its place in some list is at most
    lists × (60 + depth) − 60, and so many places there are in each list.

    Example:
        >>> limit_that_holds(lists=1, depth=16), limit_that_holds(lists=2, depth=256)
        (16, 1144)
    """
    return lists * (lists * (RANK_CONSTANT + depth) - RANK_CONSTANT)
