"""How far a system's answers are from the reference's, on the same pairs: every figure of `Drift`, and the worst pairs.

Both sides are distributions of the same pairs in the same order; nothing here knows which model gave them, and no gold
label is read. What a drift is worth in ranking quality is `gen_rerank.evaluation.evaluation`'s, how much of it is too
much is `gates`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import TIERS, tier_places
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.metrics import Doubles, agreement, shuffled_ranks
from quant.comparison import Drift, Histogram, WorstPair

# How many products a shopper sees first.
_TOP = 5
# A distribution with at least this much on one bin says nothing of how sure it is; one with less than the other still
# does.
_SATURATED = 0.999
_UNSURE = 0.99
_STUCK_AT = np.array([0.0, 0.5, 1.0])
_STUCK_WITHIN = 0.001
# Of |Δscore| 0.005 each, with no change in the middle of one.
_EDGES = np.linspace(-0.2025, 0.2025, 82).round(4)


def drift(
    query_ids: Sequence[str],
    reference: Distribution,
    other: Distribution,
    thresholds: Mapping[str, float],
    *,
    product_ids: Sequence[str],
) -> Drift:
    """Return how far `other` is from `reference`.

    Args:
        query_ids: `[n]`, the query of each pair.
        reference: n distributions.
        other: n distributions of the same pairs, in the same order.
        thresholds: the scores at which the tiers `exact` and `close` begin.
        product_ids: `[n]`, the product of each pair; equal scores are ordered by a seeded hash of both ids, as in
            `gen_rerank.evaluation.metrics.shuffled_ranks`.

    Raises:
        BadInput: there are no pairs, or lengths differ.

    Example:
        >>> sure = Distribution(np.eye(11)[[10, 5]])
        >>> drift(["q", "q"], sure, sure, {"exact": 0.8, "close": 0.5}, product_ids=["a", "b"]).mean_change
        0.0
    """
    if not len(query_ids) == len(product_ids) == len(reference) == len(other) or not len(query_ids):
        raise BadInput(
            f"a drift needs the same pairs on both sides, one at least, not {len(query_ids)} queries, "
            f"{len(product_ids)} products, {len(reference)} and {len(other)} distributions"
        )
    before, after = _scores(reference), _scores(other)
    change = after - before
    divergence = _jensen_shannon(reference, other)
    groups = _groups(query_ids)
    kept = _top_kept(query_ids, product_ids, groups, before, after)
    flips = _flips(before, after, thresholds)
    return Drift(
        mean_change=float(np.abs(change).mean()),
        p99_change=float(np.quantile(np.abs(change), 0.99)),
        largest_change=float(np.abs(change).max()),
        jensen_shannon=float(divergence.mean()),
        p99_jensen_shannon=float(np.quantile(divergence, 0.99)),
        kendall_tau=_kendall(groups, before, after),
        top5_kept=float(kept.mean()) if len(kept) else None,
        top5_changed=float((kept < 1).mean()) if len(kept) else None,
        tier_flips=sum(flips.values()) / len(before),
        flips=flips,
        saturated=float(((_largest(other) >= _SATURATED) & (_largest(reference) <= _UNSURE)).mean()),
        changes=_histogram(change),
        spread=_spread(before, after),
        stuck=float(stuck(after).mean()),
    )


def worst_pairs(
    dataset: Dataset, reference: Distribution, other: Distribution, most: int = 20
) -> tuple[WorstPair, ...]:
    """Return the judged pairs whose score changed most, most changed first; equal changes in the order of the data.

    Args:
        dataset: whose judgments the distributions are about, in its order.
        reference: one distribution a judgment.
        other: one distribution a judgment.
        most: how many pairs at most; a pair whose score did not change is none of them.
    """
    before, after = _scores(reference), _scores(other)
    change = np.abs(after - before)
    worst = [i for i in np.argsort(-change, kind="stable")[:most].tolist() if change[i] > 0]
    found = []
    for i in worst:
        judgment = dataset.judgments[i]
        query = dataset.queries[judgment.query_id]
        found.append(
            WorstPair(
                query_id=query.query_id,
                query=query.text,
                tags=query.tags,
                product_id=judgment.product_id,
                title=dataset.products[judgment.product_id].title,
                relevance=judgment.relevance,
                reference_score=float(before[i]),
                candidate_score=float(after[i]),
                reference_distribution=tuple(map(float, reference.probabilities[i])),
                candidate_distribution=tuple(map(float, other.probabilities[i])),
            )
        )
    return tuple(found)


def stuck(scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which scores are 0, 0.5 or 1, to within 0.001: where they end up when something broke, if all of them do.

    Args:
        scores: `[n]`.

    Returns:
        `[n]`.

    Example:
        >>> stuck([0.0004, 0.3, 0.5]).tolist()
        [True, False, True]
    """
    values = np.asarray(scores, dtype=np.float64)
    return np.abs(values[:, None] - _STUCK_AT).min(axis=1) <= _STUCK_WITHIN


def _scores(distribution: Distribution) -> Doubles:
    return distribution.mean.astype(np.float64)


def _groups(query_ids: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each query, queries in the order in which they first occur."""
    number = {query: i for i, query in enumerate(dict.fromkeys(query_ids))}
    group = np.array([number[query] for query in query_ids])
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])


def _jensen_shannon(reference: Distribution, other: Distribution) -> Doubles:
    """Return the divergence of each pair, `[n]` in bits."""
    # Of distributions that are alike but for rounding, the sum under its root can be just below 0.
    with np.errstate(invalid="ignore"):
        distance = jensenshannon(
            reference.probabilities.astype(np.float64), other.probabilities.astype(np.float64), base=2, axis=1
        )
    return np.nan_to_num(distance, nan=0.0) ** 2


def _kendall(groups: Sequence[npt.NDArray[np.int64]], before: Doubles, after: Doubles) -> float:
    """Return the mean tau-b over queries with two candidates or more; 1 where no query has any order to change."""
    taus = [agreement(before[rows], after[rows]).tau for rows in groups if len(rows) > 1]
    return float(np.mean(taus)) if taus else 1.0


def _top_kept(
    query_ids: Sequence[str],
    product_ids: Sequence[str],
    groups: Sequence[npt.NDArray[np.int64]],
    before: Doubles,
    after: Doubles,
) -> Doubles:
    """Return the share of the first products that stay there, of each query that has more than these, `[queries]`."""
    first, still = (shuffled_ranks(query_ids, product_ids, scores) <= _TOP for scores in (before, after))
    return np.array([(first & still)[rows].sum() / _TOP for rows in groups if len(rows) > _TOP])


def _flips(before: Doubles, after: Doubles, thresholds: Mapping[str, float]) -> dict[str, int]:
    """Return how many pairs went from one tier to another, by `"exact>close"`, the best tiers first."""
    places = (tier_places(scores, thresholds).tolist() for scores in (before, after))
    moves = Counter(zip(*places, strict=True))
    return {f"{TIERS[a]}>{TIERS[b]}": count for (a, b), count in sorted(moves.items()) if a != b}


def _largest(distribution: Distribution) -> Doubles:
    return distribution.probabilities.max(axis=1).astype(np.float64)


def _spread(before: Doubles, after: Doubles) -> float:
    """Return the standard deviation of the scores as a share of the reference's; 1 where the reference's have none."""
    return float(after.std() / before.std()) if before.std() > 0 else 1.0


def _histogram(change: Doubles) -> Histogram:
    counts, _ = np.histogram(np.clip(change, _EDGES[0], _EDGES[-1]), _EDGES)
    return Histogram(edges=tuple(_EDGES.tolist()), counts=tuple(counts.tolist()))
