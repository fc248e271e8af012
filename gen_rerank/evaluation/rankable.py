"""Which queries can be ranked: the one rule, and those that cannot, by name.

A query can be ranked when two of its judgments differ: then one order is better than another, and the headline measure
is defined. With one judgment, or with all alike, every order is equally good. Such queries stay in the means, where
their measure is defined; what they cannot do is tell two systems apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.reporting.numbers import counted

_NAMED = 3


@dataclass(frozen=True)
class Unranked:
    """The judged queries of a split that cannot be ranked.

    Attributes:
        single: the ids of those with one judgment.
        alike: the ids of those with several judgments of one relevance.
    """

    single: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.single) + len(self.alike)

    def sentence(self, queries: int) -> str | None:
        """Return how many there are of so many judged queries, with the first names; None where all can be ranked.

        Example:
            >>> Unranked(("q1", "q2"), ("q3",)).sentence(40)
            '3 of 40 queries cannot be ranked: 2 have one judgment (q1, q2), 1 has all alike (q3)'
        """
        if not len(self):
            return None
        parts = [
            f"{len(ids):,} {'has' if len(ids) == 1 else 'have'} {what} ({_first(ids)})"
            for ids, what in ((self.single, "one judgment"), (self.alike, "all alike"))
            if ids
        ]
        return f"{len(self):,} of {counted(queries, 'query', 'queries')} cannot be ranked: {', '.join(parts)}"

    def to_json(self) -> dict[str, list[str]]:
        """Return all ids, by the reason."""
        return {"one_judgment": list(self.single), "all_alike": list(self.alike)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Unranked:
        """Return what `to_json` gave."""
        return cls(tuple(row["one_judgment"]), tuple(row["all_alike"]))


NONE_UNRANKED = Unranked()


def unranked(dataset: Dataset) -> Unranked:
    """Return the judged queries that cannot be ranked, in the order of their first judgments.

    Example:
        >>> unranked(Dataset.load("shop").of("validation")).sentence(300)  # doctest: +SKIP
        '1 of 300 queries cannot be ranked: 1 has all alike (q02417)'
    """
    known = dict(_relevances(dataset))
    return Unranked(
        single=tuple(query_id for query_id, found in known.items() if len(found) == 1),
        alike=tuple(query_id for query_id, found in known.items() if len(found) > 1 and len(set(found)) == 1),
    )


def can_rank(dataset: Dataset) -> bool:
    """Return whether a query at least can be ranked: only then can a system be better than another."""
    return any(len(set(found)) > 1 for _, found in _relevances(dataset))


def _relevances(dataset: Dataset) -> Iterator[tuple[str, list[float]]]:
    for query_id, rows in dataset.by_query().items():
        yield query_id, [row.relevance for row in rows]


def _first(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(islice(ids, _NAMED)) + more
