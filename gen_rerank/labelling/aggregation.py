"""Several votes become one relevance: their mean, Dawid and Skene's estimate, or the mean of calibrated votes.

Dawid and Skene (1979) estimate how each judge errs from the votes alone; crowd-kit has it. Calibration fits, for each
judge, a map that keeps the order, from its votes to people's relevance, as judges' scales differ (arXiv 2502.13908);
what it is worth is measured on queries that did not fit it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from gen_rerank.data.folds import numbered
from gen_rerank.errors import BadInput
from gen_rerank.labelling.votes import Votes, VoteTable

Aggregate = Literal["mean", "dawid-skene", "calibrated"]
# The relevances that Dawid and Skene's classes stand for; a vote belongs to the nearest.
CLASSES = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROUNDS = 100
# Fewer trusted pairs say nothing of the form of a map.
LEAST_TRUSTED = 20
_FOLDS = 5

Relevances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationGain:
    """What a judge's calibration is worth, on queries that did not fit it.

    Attributes:
        judge: whose votes.
        pairs: with a vote of it and a trusted relevance.
        before: mean squared error of its votes against the trusted relevances.
        after: that of the calibrated votes.
    """

    judge: str
    pairs: int
    before: float
    after: float


@dataclass(frozen=True)
class Aggregated:
    """What the votes come to.

    Attributes:
        relevance: of each pair, `[pairs]`, in [0, 1].
        labels: the votes that stand beside it, `[pairs, judges]`, NaN for none: as they were given, or calibrated.
        gains: what calibration is worth; empty for other aggregates.
    """

    relevance: Relevances
    labels: VoteTable
    gains: tuple[CalibrationGain, ...] = ()


def mean_relevance(table: VoteTable) -> Relevances:
    """Return the mean vote of each pair.

    Example:
        >>> mean_relevance(np.array([[0.5, 1.0], [np.nan, 0.25]])).tolist()
        [0.75, 0.25]
    """
    means: Relevances = np.nanmean(table, axis=1)
    return means


def dawid_skene(table: VoteTable) -> Relevances:
    """Return the expected relevance of each pair under Dawid and Skene's model, classes at `CLASSES`."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    pairs, judges = np.nonzero(~np.isnan(table))
    places = np.abs(table[pairs, judges][:, None] - np.array(CLASSES)).argmin(axis=1)
    votes = pd.DataFrame({"task": pairs, "worker": judges, "label": places})
    found = DawidSkene(n_iter=_ROUNDS).fit_predict_proba(votes)
    worth = np.array([CLASSES[place] for place in found.columns])
    relevance: Relevances = np.full(len(table), np.nan)
    relevance[found.index.to_numpy()] = np.clip(found.to_numpy() @ worth, 0.0, 1.0)
    return relevance


def calibrated(votes: Votes, trusted: Mapping[int, float]) -> Aggregated:
    """Return the mean of votes that were mapped to people's scale, and the mapped votes.

    A judge whose map does not help queries that did not fit it keeps its votes.

    Args:
        votes: of all judges.
        trusted: the relevance that people gave, by place of the pair.

    Raises:
        BadInput: too few pairs have one.
    """
    if len(trusted) < LEAST_TRUSTED:
        raise BadInput(
            f"--aggregate calibrated: {len(trusted)} of the judged pairs have a trusted relevance, and "
            f"{LEAST_TRUSTED} are needed; name people's judgments with --trusted, or choose another aggregate"
        )
    places = np.array(sorted(trusted))
    aims = np.array([trusted[place] for place in places.tolist()])
    queries = numbered([votes.pairs[place].query_id for place in places.tolist()])
    labels = votes.table.copy()
    gains = []
    for number, name in enumerate(votes.names):
        given = votes.table[places, number]
        known = ~np.isnan(given)
        if known.sum() < LEAST_TRUSTED:
            continue
        held_out = _held_out(given[known], aims[known], queries[known])
        before, after = (float(np.mean((guess - aims[known]) ** 2)) for guess in (given[known], held_out))
        gains.append(CalibrationGain(name, int(known.sum()), before, after))
        if after < before:
            has = ~np.isnan(labels[:, number])
            labels[has, number] = _mapped(given[known], aims[known], labels[has, number])
    return Aggregated(mean_relevance(labels), labels, tuple(gains))


def _held_out(given: Relevances, aims: Relevances, queries: npt.NDArray[np.int64]) -> Relevances:
    """Return each vote as a map has it that its query did not fit; whole queries are dealt out in order."""
    fold = numbered(queries.tolist()) % _FOLDS
    guesses = given.copy()
    for one in range(_FOLDS):
        inside = fold == one
        if inside.any() and not inside.all():
            guesses[inside] = _mapped(given[~inside], aims[~inside], given[inside])
    return guesses


def _mapped(given: Relevances, aims: Relevances, votes: Relevances) -> Relevances:
    from sklearn.isotonic import IsotonicRegression

    found: Relevances = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(given, aims).predict(votes)
    return found


def aggregated(votes: Votes, how: str, trusted: Mapping[int, float]) -> Aggregated:
    """Return what the votes come to.

    Args:
        votes: of all judges.
        how: one of `Aggregate`.
        trusted: people's relevances by place of the pair; read by `calibrated` alone.

    Raises:
        BadInput: there is no such aggregate, or too few pairs are trusted.
    """
    require_aggregate(how)
    if how == "mean":
        return Aggregated(mean_relevance(votes.table), votes.table)
    if how == "dawid-skene":
        return Aggregated(dawid_skene(votes.table), votes.table)
    return calibrated(votes, trusted)


def require_aggregate(how: str) -> None:
    """Refuse an aggregate that there is not.

    Raises:
        BadInput: it is none of `Aggregate`.
    """
    if how not in get_args(Aggregate):
        raise BadInput(f"--aggregate {how}: choose {', '.join(get_args(Aggregate))}")


def labels_of(row: Sequence[float]) -> tuple[float, ...]:
    """Return the votes of one pair as `labels` has them, without the gaps, four decimals."""
    return tuple(round(vote, 4) for vote in row if not np.isnan(vote))
