"""What so many queries prove about the loss of queries to come: a p-value, a bound, and a walk over thresholds.

A query's loss lies in [0, 1]; queries are the draws, products are not. *Learn then Test* (Angelopoulos, Bates, Candès,
Jordan & Lei 2021, arXiv 2110.01052) tests for each threshold whether the mean loss is above a limit, and walks from the
safest threshold on as long as the tests refuse that: in a fixed order no correction for their number is needed, and
the loss need not be monotone. Where it is, this is the risk-controlling set of Bates, Angelopoulos, Lei, Malik & Jordan
2021 (arXiv 2101.02703). What a loss is, and in which order thresholds are safe, `promises` says.

Most queries lose nothing or a little, and betting uses that (Waudby-Smith & Ramdas 2020, "Estimating means of bounded
random variables by betting", arXiv 2010.09686): a promise then takes fewer queries than by Hoeffding's and
Bentkus' bounds, which do not look at the spread. Where there are too few queries for the bets to win even if nothing
is lost, those two are taken; that depends on the number of queries alone, so whichever is taken is valid.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_HALVINGS = 40
_MOST_QUERIES = 100_000
# Thresholds that are tested at a time.
_BLOCK = 64
# Of the largest bet that cannot lose everything: the paper's own cap, so that one bad query does not end the game.
_STAKE = 0.75


def p_value(losses: npt.ArrayLike, limit: float, confidence: float) -> Doubles:
    """Return how likely losses this low are, at most, if the loss of all queries is above the limit.

    Args:
        losses: `[…, queries]` in [0, 1], in an order that has nothing to do with them.
        limit: in (0, 1).
        confidence: in (0, 1), that will be asked for; bets are made with it in mind.

    Example:
        >>> p_value(np.zeros(45), 0.05, 0.9).round(4).item(), p_value(np.zeros(44), 0.05, 0.9).round(4).item()
        (0.0994, 0.1047)
    """
    given = np.asarray(losses, dtype=np.float64)
    queries = given.shape[-1]
    if not queries:
        return np.ones(given.shape[:-1])
    if _betting(np.zeros(queries), limit, confidence) > 1 - confidence:
        return hoeffding_bentkus(given.mean(axis=-1), queries, limit)
    return _betting(given, limit, confidence)


def hoeffding_bentkus(mean: npt.ArrayLike, queries: int, limit: float) -> Doubles:
    """Return the p-value that asks for no more than the mean of the losses.

    The smaller of Hoeffding's and Bentkus' bounds (Bates et al. 2021, section 3.1): exp(−n · KL(mean ‖ limit)) and
    e · P(binomial(n, limit) ≤ ⌈n · mean⌉).

    Args:
        mean: of the losses, any shape.
        queries: how many, n.
        limit: in (0, 1).

    Example:
        >>> hoeffding_bentkus(0.0, 45, 0.05).round(4).item()
        0.0994
    """
    from scipy.special import rel_entr
    from scipy.stats import binom

    found = np.asarray(mean, dtype=np.float64)
    low = np.minimum(found, limit)
    hoeffding = np.exp(-queries * (rel_entr(low, limit) + rel_entr(1 - low, 1 - limit)))
    bentkus = math.e * binom.cdf(np.ceil(queries * found - 1e-9), queries, limit)
    return np.where(found < limit, np.minimum(np.minimum(hoeffding, bentkus), 1.0), 1.0)


def _betting(losses: Doubles, limit: float, confidence: float) -> Doubles:
    """Return 1 over what is left of a capital of 1 after bets, one a query, that losses are below the limit.

    Each bet is sized by the losses before it (the predictable plug-in of the paper's section 4), so that where losses
    are not below the limit the capital is 1 on average, at most, and Markov's inequality holds. The paper may stop
    while it is ahead (Ville's inequality); here it plays to the end, so that no promise rests on the first queries.
    """
    number = np.arange(1, losses.shape[-1] + 1)
    mean = (0.5 + losses.cumsum(axis=-1)) / (1 + number)
    spread = (0.25 + ((losses - mean) ** 2).cumsum(axis=-1)) / (1 + number)
    before = np.concatenate([np.full((*losses.shape[:-1], 1), 0.25), spread[..., :-1]], axis=-1)
    bets = np.minimum(np.sqrt(2 * math.log(1 / (1 - confidence)) / (len(number) * before)), _STAKE / (1 - limit))
    capital = np.log1p(-bets * (losses - limit)).sum(axis=-1)
    return np.exp(-np.maximum(capital, 0.0))


def upper_bound(losses: npt.ArrayLike, confidence: float) -> float:
    """Return what the loss of all queries is at most, with this confidence: the limit at which `p_value` turns.

    Args:
        losses: `[queries]` in [0, 1], in an order that has nothing to do with them.
        confidence: in (0, 1).

    Example:
        >>> round(upper_bound(np.zeros(45), 0.9), 3)
        0.05
    """
    given = np.asarray(losses, dtype=np.float64)
    low, high = float(given.mean()) if len(given) else 1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if 0 < middle < 1 and float(p_value(given, middle, confidence)) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def kept_steps(losses: npt.ArrayLike, limit: float, confidence: float) -> int:
    """Return how many thresholds keep a limit, of those that are walked over from the safest on.

    Args:
        losses: `[thresholds, queries]`, those of the safest threshold first; queries in an order that has nothing to do
            with them.
        limit: of the loss.
        confidence: that no threshold passed here has a higher loss.

    Example:
        >>> kept_steps([[0.0] * 50, [0.0] * 50, [1.0] * 50, [0.0] * 50], limit=0.05, confidence=0.9)
        2
    """
    given = np.asarray(losses, dtype=np.float64)
    for start in range(0, len(given), _BLOCK):
        kept = p_value(given[start : start + _BLOCK], limit, confidence) <= 1 - confidence
        if not kept.all():
            return start + int(kept.argmin())
    return len(given)


def least_queries(losses: npt.ArrayLike, limit: float, confidence: float) -> int | None:
    """Return about how many queries that lose like these would keep a limit; None where no number does.

    Example:
        >>> least_queries([0.0, 0.0], 0.05, 0.9), least_queries([0.1, 0.1], 0.05, 0.9)
        (45, None)
    """
    given = np.asarray(losses, dtype=np.float64)
    if not len(given) or given.mean() >= limit:
        return None

    def enough(queries: int) -> bool:
        """Return whether so many, these over and over, would do."""
        return float(p_value(np.resize(given, queries), limit, confidence)) <= 1 - confidence

    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST_QUERIES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
