"""Whether scores still lie as they did at calibration: histograms, and the population stability index of two.

The index is Σ (now − then) · ln(now / then) over the shares of twenty bars, a symmetric Kullback–Leibler divergence in
nats: 0 where all shares are the same. By a rule of thumb of credit scoring, below 0.1 nothing has happened, and above
0.25 the population is another one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import BARS, ScoreHistogram

# The largest standard deviation that a distribution over [0, 1] can have.
_LARGEST_STD = 0.5
# Added to each bar, so that an empty one is rare and not impossible.
_HALF = 0.5


def score_histogram(distribution: Distribution) -> ScoreHistogram:
    """Return how many scores and standard deviations lie in each of twenty bars of equal width.

    Args:
        distribution: n of them; the scores' bars go from 0 to 1, those of the standard deviations from 0 to 0.5.

    Example:
        >>> found = score_histogram(Distribution(np.eye(11)[[10, 0]]))
        >>> found.scores[0], found.scores[-1], found.stds[0]
        (1, 1, 2)
    """
    return ScoreHistogram(
        scores=_counts(distribution.mean, 1.0),
        stds=_counts(distribution.std, _LARGEST_STD),
    )


def stability_index(then: npt.ArrayLike, now: npt.ArrayLike) -> float:
    """Return the population stability index of two histograms, in nats; 0 or more.

    Half a count is added to each bar of both.

    Args:
        then: `[bars]` counts.
        now: `[bars]` counts, which may be fractions.

    Example:
        >>> stability_index([10, 30], [20, 60]) < 0.001, stability_index([90, 10], [10, 90]) > 3
        (True, True)
    """
    shares = []
    for counts in (then, now):
        smoothed = np.asarray(counts, dtype=np.float64) + _HALF
        shares.append(smoothed / smoothed.sum())
    before, after = shares
    return float(((after - before) * np.log(after / before)).sum())


def _counts(values: npt.ArrayLike, largest: float) -> tuple[int, ...]:
    inside = np.clip(np.asarray(values, dtype=np.float64), 0.0, largest)
    return tuple(np.histogram(inside, bins=BARS, range=(0.0, largest))[0].tolist())
