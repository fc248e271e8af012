"""How far judges agree: with one another, with people, by slice, and with themselves from the run's start to its end.

The measure is Krippendorff's α for ordinal data, by the package `krippendorff`, on votes rounded to the eleven bins; 1
is agreement, 0 what chance gives. Intervals are bootstrapped over queries, as everywhere here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.data.folds import numbered
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.labelling.votes import Votes, VoteTable

_RESAMPLES = 200
_BINS = 10
PEOPLE = "people"


@dataclass(frozen=True)
class JudgeAgreement:
    """How far some raters agree on some pairs.

    Attributes:
        name: of the raters, or of the slice.
        pairs: with two votes at least.
        alpha: with its interval over queries; None where all votes are alike, or hardly any pair has two.
        difference: mean vote of the first rater minus the second's, where there are two.
    """

    name: str
    pairs: int
    alpha: Interval | None
    difference: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        alpha = None if self.alpha is None else self.alpha.to_json()
        return {"name": self.name, "pairs": self.pairs, "alpha": alpha, "difference": self.difference}


@dataclass(frozen=True)
class JudgeDrift:
    """How much higher a judge votes in the second half of a run than in the first, beside the others' votes.

    Attributes:
        judge: who.
        change: of its vote minus the mean of the others' for the same pair; None where there are no others, or too few
            queries.
    """

    judge: str
    change: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"judge": self.judge, "change": None if self.change is None else self.change.to_json()}


@dataclass(frozen=True)
class WithoutOne:
    """What the panel would be without one judge: its α, and what a thousand pairs would cost."""

    judge: str
    alpha: Interval | None
    cost: float

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        alpha = None if self.alpha is None else self.alpha.to_json()
        return {"judge": self.judge, "alpha": alpha, "cost_per_1000_pairs": self.cost}


def ordinal_alpha(table: VoteTable) -> float | None:
    """Return Krippendorff's α of votes, `[pairs, raters]` with NaN for none; None where it is not defined.

    Example:
        >>> ordinal_alpha(np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]))
        1.0
    """
    import krippendorff

    binned = np.round(table * _BINS)
    paired = binned[(~np.isnan(binned)).sum(axis=1) >= 2]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=paired.T, level_of_measurement="ordinal"))


def agreement(name: str, table: VoteTable, queries: Sequence[str]) -> JudgeAgreement:
    """Return how far raters agree, with an interval over queries.

    Args:
        name: of the raters, or of the slice.
        table: their votes, `[pairs, raters]`, NaN for none.
        queries: the query of each pair.
    """
    paired = (~np.isnan(table)).sum(axis=1) >= 2
    kept, numbers = table[paired], numbered([queries[place] for place in np.flatnonzero(paired).tolist()])
    difference = None
    if table.shape[1] == 2 and len(kept):
        difference = float(np.mean(kept[:, 0] - kept[:, 1]))
    return JudgeAgreement(name, len(kept), _with_interval(kept, numbers), difference)


def of_all(votes: Votes) -> JudgeAgreement:
    """Return how far all judges agree."""
    return agreement("all judges", votes.table, _queries(votes))


def of_two(votes: Votes) -> list[JudgeAgreement]:
    """Return how far each two judges agree."""
    chosen = combinations(range(len(votes.names)), 2)
    return [
        agreement(f"{votes.names[one]} – {votes.names[two]}", votes.table[:, [one, two]], _queries(votes))
        for one, two in chosen
    ]


def with_people(votes: Votes, people: Mapping[int, float], relevance: npt.NDArray[np.float64]) -> list[JudgeAgreement]:
    """Return how far each judge, and what the votes come to, agree with people.

    Args:
        votes: of the judges.
        people: the relevance that people gave, by place of the pair.
        relevance: what the votes come to, `[pairs]`.
    """
    if not people:
        return []
    given = np.full(len(votes.pairs), np.nan)
    given[list(people)] = list(people.values())
    raters = [*zip(votes.names, votes.table.T, strict=True), ("all together", relevance)]
    return [agreement(f"{name} – {PEOPLE}", np.stack([own, given], axis=1), _queries(votes)) for name, own in raters]


def by_slice(votes: Votes, tags: Mapping[str, Sequence[str]]) -> list[JudgeAgreement]:
    """Return how far all judges agree in each slice; `tags` are those of each query, by its id."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(votes.pairs):
        for tag in tags.get(one.query_id, ()):
            places[tag].append(place)
    queries = _queries(votes)
    return [
        agreement(tag, votes.table[found], [queries[place] for place in found]) for tag, found in sorted(places.items())
    ]


def without_one(votes: Votes) -> list[WithoutOne]:
    """Return what the panel would be without each judge; none where there are fewer than three."""
    if len(votes.names) < 3:
        return []
    costs = [1000 * account.cost / max(account.votes, 1) for account in votes.accounts]
    found = []
    for left, name in enumerate(votes.names):
        others = [number for number in range(len(votes.names)) if number != left]
        alpha = agreement(name, votes.table[:, others], _queries(votes)).alpha
        found.append(WithoutOne(name, alpha, sum(costs[number] for number in others)))
    return found


def drifts(votes: Votes) -> list[JudgeDrift]:
    """Return how each judge's votes moved from the first half of its answers to the second."""
    numbers = numbered(_queries(votes))
    return [JudgeDrift(name, _moved(votes, judge, numbers)) for judge, name in enumerate(votes.names)]


def _moved(votes: Votes, judge: int, queries: npt.NDArray[np.int64]) -> Interval | None:
    own, others = votes.table[:, judge], np.delete(votes.table, judge, axis=1)
    known = np.flatnonzero(~np.isnan(own) & (~np.isnan(others)).any(axis=1))
    if len(known) < 2:
        return None
    apart = own[known] - np.nanmean(others[known], axis=1)
    late = votes.order[known, judge] > np.median(votes.order[known, judge])
    halves = [_query_means(apart[half], queries[known][half]) for half in (~late, late)]
    fewest = min(map(len, halves))
    rng = np.random.default_rng(0)
    drawn = [half[rng.integers(len(half), size=(_RESAMPLES, len(half)))].mean(axis=1) for half in halves if len(half)]
    if len(drawn) < 2:
        return None
    low, high = np.quantile(drawn[1] - drawn[0], [0.025, 0.975])
    return Interval(float(halves[1].mean() - halves[0].mean()), float(low), float(high), fewest)


def _query_means(values: npt.NDArray[np.float64], queries: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    numbers = numbered(queries.tolist())
    means: npt.NDArray[np.float64] = np.bincount(numbers, values) / np.bincount(numbers)
    return means


def _with_interval(table: VoteTable, queries: npt.NDArray[np.int64]) -> Interval | None:
    alpha = ordinal_alpha(table)
    if alpha is None:
        return None
    rows = [np.flatnonzero(queries == one) for one in range(int(queries.max()) + 1)]
    again = [value for value in _resampled(table, rows, ordinal_alpha) if value is not None]
    low, high = np.quantile(again, [0.025, 0.975]) if again else (alpha, alpha)
    return Interval(alpha, float(low), float(high), len(rows))


def _resampled(
    table: VoteTable, rows: Sequence[npt.NDArray[np.int64]], measure: Callable[[VoteTable], float | None]
) -> Iterator[float | None]:
    """Yield a measure of the pairs of queries that were drawn with replacement."""
    rng = np.random.default_rng(0)
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(rows), size=len(rows))
        yield measure(table[np.concatenate([rows[one] for one in drawn])])


def _queries(votes: Votes) -> list[str]:
    return [one.query_id for one in votes.pairs]
