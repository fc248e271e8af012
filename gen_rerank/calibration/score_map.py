"""A monotone map of scores: how it is fitted, and how a distribution is moved to the mean that it asks for.

The mean alone is mapped; the bins follow by exponential tilting, which is the smallest change in KL that gives a
distribution another mean (Csiszár 1975, "I-divergence geometry of probability distributions and minimization
problems"). So what comes out is a distribution again, in the order of the means that went in. Whether a map pays is
not decided here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gen_rerank.checkpoints.card import ScoreMap

Doubles = npt.NDArray[np.float64]

# How much of a score stays itself: where isotonic regression is flat, a map still rises by this much.
OWN_SHARE = 0.05
# Means this far from 0 and 1 can be reached by a distribution that has some weight everywhere.
_EDGE = 1e-9
_CLOSE_ENOUGH = 1e-11
_MOST_STEPS = 200
# Points of a map are not closer than this.
_APART = 1e-6


def mapped(scaled: npt.ArrayLike, values: npt.ArrayLike, score_map: ScoreMap) -> Doubles:
    """Return the probabilities `[n, k]` whose means are the mapped means of the softmax of `scaled`.

    Args:
        scaled: logits `[n, k]`, divided by the temperature; finite.
        values: `[k]`, what each column is worth.
        score_map: what the means become.

    Example:
        >>> low = ScoreMap(scores=(0.0, 0.5, 1.0), relevances=(0.0, 0.25, 1.0))
        >>> mapped([[0.0, 0.0]], [0.0, 1.0], low).round(6).tolist()
        [[0.75, 0.25]]
    """
    given, worth = np.asarray(scaled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return tilted(given, worth, np.interp(_softmax(given) @ worth, score_map.scores, score_map.relevances))


def tilted(scaled: Doubles, values: Doubles, means: Doubles) -> Doubles:
    """Return the distributions p · exp(λ · value), normalised, with the λ of each row that gives it its mean.

    The mean rises strictly with λ, so there is one. Newton's method finds it on the scale of log-odds, on which the
    mean of two bins is a straight line, kept between bounds that close in.

    Args:
        scaled: logits `[n, k]` of p; finite.
        values: `[k]`, the smallest 0 and the largest 1.
        means: `[n]` in [0, 1]; they are reached up to 1e-9 from the ends.

    Example:
        >>> tilted(np.zeros((1, 2)), np.array([0.0, 1.0]), np.array([0.9])).round(6).tolist()
        [[0.1, 0.9]]
    """
    wanted = np.clip(means, _EDGE, 1 - _EDGE)
    spread = scaled.max(axis=1) - scaled.min(axis=1)
    gap = np.diff(np.sort(values)).min()
    high = (spread + np.log(len(values) / np.minimum(wanted, 1 - wanted))) / gap
    low, at = -high, np.zeros_like(high)
    last = np.full_like(high, np.inf)
    tiny = np.finfo(np.float64).tiny
    for _ in range(_MOST_STEPS):
        rows = _softmax(scaled + at[:, None] * values)
        up, down = rows @ values, rows @ (1 - values)
        error = up - wanted
        there = np.abs(error) < _CLOSE_ENOUGH
        if there.all():
            break
        low, high = np.where(error < 0, at, low), np.where(error > 0, at, high)
        variance = rows @ values**2 - up**2
        odds = np.log(np.maximum(up, tiny) / np.maximum(down, tiny)) - np.log(wanted / (1 - wanted))
        newton = at - odds * up * down / np.maximum(variance, tiny)
        trusted = (newton > low) & (newton < high) & (np.abs(odds) < last)
        at, last = np.where(there, at, np.where(trusted, newton, (low + high) / 2)), np.abs(odds)
    return rows


def fit_score_map(scores: npt.ArrayLike, relevance: npt.ArrayLike, weights: npt.ArrayLike) -> ScoreMap:
    """Return the map under which scores come closest to relevance, in squared error, of those that keep the order.

    Isotonic regression (pool adjacent violators, by scipy) gives steps. Their centres are joined by straight lines:
    centred isotonic regression, Oron & Flournoy 2017, "Centered Isotonic Regression: Point and Interval Estimation for
    Dose-Response Studies", arXiv 1701.05964. Beyond the outer centres it is flat, and a twentieth of the score itself
    is mixed in, so that no two scores become one.

    Args:
        scores: `[n]` in [0, 1].
        relevance: `[n]` in [0, 1].
        weights: `[n]` above 0.

    Example:
        >>> found = fit_score_map([0.2, 0.8], [0.1, 0.5], [1, 1])
        >>> [round(value, 3) for value in found.relevances]
        [0.095, 0.105, 0.515, 0.525]
    """
    x, y, weight = _by_score(scores, relevance, weights)
    centres, levels = _isotonic_blocks(x, y, weight)
    return _own_share_mixed(centres, levels)


def fit_venn_abers_map(scores: npt.ArrayLike, relevance: npt.ArrayLike, weights: npt.ArrayLike) -> ScoreMap:
    """Return a map for few pairs: an inductive Venn-Abers predictor, which does not believe its data to the end.

    At each centre of the isotonic blocks the regression is fitted twice more, with one pair of that score added: once
    irrelevant, once relevant. From the two answers p0 and p1 it says p1 / (1 - p0 + p1), which lies between them. With
    few pairs they lie apart, and what is said is drawn to the middle; with many it is isotonic regression. Vovk, Petej
    & Fedorova 2015, "Large-scale probabilistic predictors with and without guarantees of validity", arXiv 1511.00213;
    there relevance is 0 or 1, here a grade between counts as both in part.

    Args:
        scores: `[n]` in [0, 1].
        relevance: `[n]` in [0, 1].
        weights: `[n]` above 0; the added pair has their mean.

    Example:
        >>> found = fit_venn_abers_map([0.2, 0.8], [0, 1], [1, 1])
        >>> [round(value, 3) for value in found.relevances]
        [0.317, 0.327, 0.673, 0.683]
    """
    x, y, weight = _by_score(scores, relevance, weights)
    centres, _ = _isotonic_blocks(x, y, weight)
    one = float(np.mean(np.asarray(weights, dtype=np.float64)))
    low, high = (
        np.array([_with_one_more(x, y, weight, (centre, said, one)) for centre in centres]) for said in (0.0, 1.0)
    )
    return _own_share_mixed(centres, high / (1 - low + high))


def _by_score(
    scores: npt.ArrayLike, relevance: npt.ArrayLike, weights: npt.ArrayLike
) -> tuple[Doubles, Doubles, Doubles]:
    """Return different scores, ascending, with the mean relevance and the weight of each."""
    x, place = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    weight: Doubles = np.bincount(place, weights=np.asarray(weights, dtype=np.float64)).astype(np.float64)
    y = np.bincount(place, weights=np.asarray(relevance) * np.asarray(weights)) / weight
    return x, y, weight


def _isotonic_blocks(x: Doubles, y: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Return the centres of the blocks of isotonic regression, and their levels."""
    from scipy.optimize import isotonic_regression

    found = isotonic_regression(y, weights=weight)
    starts = found.blocks[:-1]
    return np.add.reduceat(x * weight, starts) / np.add.reduceat(weight, starts), found.x[starts]


def _with_one_more(x: Doubles, y: Doubles, weight: Doubles, pair: tuple[float, float, float]) -> float:
    """Return what isotonic regression says at a score when one pair of it (score, relevance, weight) is added."""
    from scipy.optimize import isotonic_regression

    score, said, one = pair
    scores, means, totals = _by_score(np.append(x, score), np.append(y, said), np.append(weight, one))
    return float(isotonic_regression(means, weights=totals).x[np.searchsorted(scores, score)])


def _own_share_mixed(centres: Doubles, levels: Doubles) -> ScoreMap:
    """Return the map through some points, flat beyond them, with a share of the score itself mixed in."""
    points = np.concatenate([[0.0], centres, [1.0]])
    points = points[np.concatenate([[True], np.diff(points) > _APART])]
    points[-1] = 1.0
    mixed = (1 - OWN_SHARE) * np.interp(points, centres, levels) + OWN_SHARE * points
    return ScoreMap(scores=tuple(points.tolist()), relevances=tuple(np.clip(mixed, 0.0, 1.0).tolist()))


def _softmax(logits: Doubles) -> Doubles:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return rows
