"""What so many queries prove about the loss of queries to come: a p-value, a bound, and a walk over thresholds.

A query's loss lies in [0, 1]; queries are the draws, products are not. *Learn then Test* (Angelopoulos, Bates, Candès,
Jordan & Lei 2021, arXiv 2110.01052) tests for each threshold whether the mean loss is above a limit, and walks from the
safest threshold on as long as the tests refuse that: in a fixed order no correction for their number is needed, and
the loss need not be monotone. Where it is, this is the risk-controlling set of Bates, Angelopoulos, Lei, Malik & Jordan
2021 (arXiv 2101.02703). What a loss is, and in which order thresholds are safe, `promises` says.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_HALVINGS = 60
_MOST_QUERIES = 10**7


def p_value(mean: npt.ArrayLike, queries: int, limit: npt.ArrayLike) -> Doubles:
    """Return how likely a mean loss this low is, at most, if the loss of all queries is above the limit.

    The smaller of Hoeffding's and Bentkus' bounds (Bates et al. 2021, section 3.1): exp(−n · KL(mean ‖ limit)) and
    e · P(binomial(n, limit) ≤ ⌈n · mean⌉). Both hold for any losses in [0, 1].

    Args:
        mean: of the losses, any shape.
        queries: how many, n.
        limit: in (0, 1), of a shape that fits.

    Example:
        >>> round(float(p_value(0.0, 45, 0.05)), 4), round(float(p_value(0.0, 44, 0.05)), 4)
        (0.0994, 0.1047)
    """
    from scipy.special import rel_entr
    from scipy.stats import binom

    found, asked = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(limit, dtype=np.float64))
    if not queries:
        return np.ones(found.shape)
    low = np.minimum(found, asked)
    hoeffding = np.exp(-queries * (rel_entr(low, asked) + rel_entr(1 - low, 1 - asked)))
    bentkus = math.e * binom.cdf(np.ceil(queries * found - 1e-9), queries, asked)
    return np.where(found < asked, np.minimum(np.minimum(hoeffding, bentkus), 1.0), 1.0)


def upper_bound(mean: npt.ArrayLike, queries: int, confidence: float) -> Doubles:
    """Return what the loss of all queries is at most, with this confidence: the limit at which `p_value` turns.

    Args:
        mean: of the losses, any shape.
        queries: how many.
        confidence: in (0, 1).

    Example:
        >>> round(float(upper_bound(0.0, 45, 0.9)), 3)
        0.05
    """
    found = np.asarray(mean, dtype=np.float64)
    low, high = found.copy(), np.ones_like(found)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        kept = p_value(found, queries, middle) <= 1 - confidence
        low, high = np.where(kept, low, middle), np.where(kept, middle, high)
    return high


def kept_steps(means: npt.ArrayLike, queries: int, limit: float, confidence: float) -> int:
    """Return how many thresholds keep a limit, of those that are walked over from the safest on.

    Args:
        means: `[thresholds]`, the mean loss of each, the safest first.
        queries: how many.
        limit: of the loss.
        confidence: that no threshold passed here has a higher loss.

    Example:
        >>> kept_steps([0.0, 0.01, 0.04, 0.0], 200, limit=0.05, confidence=0.9)
        2
    """
    kept = p_value(means, queries, limit) <= 1 - confidence
    return len(kept) if kept.all() else int(kept.argmin())


def least_queries(mean: float, limit: float, confidence: float) -> int | None:
    """Return about how many queries with this mean loss would keep a limit; None where no number does.

    Example:
        >>> least_queries(0.0, 0.05, 0.9), least_queries(0.06, 0.05, 0.9)
        (45, None)
    """
    if mean >= limit:
        return None
    high = 1
    while float(p_value(mean, high, limit)) > 1 - confidence:
        high *= 2
        if high > _MOST_QUERIES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if float(p_value(mean, middle, limit)) <= 1 - confidence else (middle, high)
    return high
