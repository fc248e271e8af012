"""What a distribution of relevance says to typed questions: a yes or no, a score over levels, a choice of tiers.

Pure arithmetic on a `Distribution`; what the questions look like on the wire is the dialects' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import DEFAULT_THRESHOLDS, IRRELEVANT, THRESHOLDS, TIERS, Tier

# Which relevance a yes means: that of a product which is close, or exact.
Meaning = Literal["exact", "close"]


def meaning(threshold: Meaning | None, name: str | None) -> Meaning:
    """Return what a yes means: what the question says, else `exact` where that is its name, else `close`.

    Example:
        >>> meaning(None, "exact"), meaning(None, "exact-fit-case"), meaning("close", "exact")
        ('exact', 'close', 'close')
    """
    if threshold is not None:
        return threshold
    # The whole name: clients also name questions by their documents' ids.
    return "exact" if (name or "").strip().lower() == "exact" else "close"


def yes(scored: Distribution, means: Meaning) -> list[float]:
    """Return the probability of a yes for each row: the mass at relevance 0.5 or more, for `exact` at 0.8 or more.

    Example:
        >>> scored = Distribution(np.eye(11)[[7]])
        >>> yes(scored, "close"), yes(scored, "exact")
        ([1.0], [0.0])
    """
    mass: list[float] = scored.mass_at_least(DEFAULT_THRESHOLDS[means]).tolist()
    return mass


def tier_shares(scored: Distribution) -> list[dict[Tier, float]]:
    """Return the probability of each tier for each row: the masses at 0.8 or more, from 0.5 to below 0.8, and below.

    Example:
        >>> tier_shares(Distribution((np.eye(11)[[9]] + np.eye(11)[[6]]) / 2))
        [{'exact': 0.5, 'close': 0.5, 'irrelevant': 0.0}]
    """
    exact, close = (np.asarray(yes(scored, means)) for means in ("exact", "close"))
    shares = (exact, np.clip(close - exact, 0.0, 1.0), 1.0 - close)
    return [dict(zip(TIERS, row, strict=True)) for row in np.stack(shares, axis=1).tolist()]


def are_tiers(values: Sequence[str | bool]) -> bool:
    """Return whether a choice is one of the tiers: their three names, in any order.

    Example:
        >>> are_tiers(["irrelevant", "close", "exact"]), are_tiers(["exact", "other"])
        (True, False)
    """
    return len(values) == len(TIERS) and set(values) == {*THRESHOLDS, IRRELEVANT}


def choice_confidence(shares: Sequence[float]) -> float:
    """Return (max p − 1/k) / (1 − 1/k): 1 when sure, 0 when all k values are alike.

    Example:
        >>> choice_confidence([1.0, 0.0]), choice_confidence([0.5, 0.5])
        (1.0, 0.0)
    """
    even = 1 / len(shares)
    return min(max((max(shares) - even) / (1 - even), 0.0), 1.0)


def score_confidence(shares: Sequence[float]) -> float:
    """Return how near the mass lies to the most probable level, at least 0.

    It is 1 − E|i − m| / U, where i is the place of a level, m that of the most probable one, and U the mean distance
    from the middle when all levels are alike. With two levels it is `choice_confidence`; with more, mass on a
    neighbouring level costs less than mass far away.

    Example:
        >>> score_confidence([0.0, 1.0, 0.0]), round(score_confidence([0.0, 0.8, 0.2]), 2)
        (1.0, 0.7)
    """
    places = np.arange(len(shares))
    spread = float(np.dot(shares, np.abs(places - int(np.argmax(shares)))))
    even = float(np.abs(places - (len(shares) - 1) / 2).mean())
    return min(max(1.0 - spread / even, 0.0), 1.0)
