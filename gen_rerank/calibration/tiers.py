"""Thresholds and tiers: which scores count as exact, which as close, and what reaching a threshold means.

Scores are float32, in which 0.9 is a little less than 0.9; so thresholds are rounded to float32 too, and a score that
is equal to its threshold reaches it. Serving, comparing and reporting all ask here. How thresholds are found is not
this module's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import best_first
from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput

Tier = Literal["exact", "close", "irrelevant"]

# The tiers that have a threshold, the best one first; what reaches none of them is irrelevant.
THRESHOLDS: tuple[Tier, Tier] = ("exact", "close")
IRRELEVANT: Tier = "irrelevant"
# What reaches this tier is a good match.
GOOD: Tier = "close"
NO_GOOD_MATCH = f"no good match: no product reaches {GOOD}"
TIERS: tuple[Tier, ...] = (*THRESHOLDS, IRRELEVANT)
# Where tiers begin when two checkpoints are compared whose cards have no thresholds.
DEFAULT_THRESHOLDS = {"exact": 0.8, "close": 0.5}


def at_least(scores: npt.ArrayLike, threshold: float) -> npt.NDArray[np.bool_]:
    """Return which scores reach a threshold, in float32; of the shape of `scores`.

    Example:
        >>> at_least([0.89, 0.9], 0.9).tolist()
        [False, True]
    """
    return np.asarray(scores, dtype=np.float32) >= np.float32(threshold)


def has_tiers(thresholds: Mapping[str, float]) -> bool:
    """Return whether a card's thresholds make tiers: it must have both."""
    return all(name in thresholds for name in THRESHOLDS)


def tier_places(scores: npt.ArrayLike, thresholds: Mapping[str, float]) -> npt.NDArray[np.intp]:
    """Return the place of each score's tier in `TIERS`, `[n]`: that of the first threshold that it reaches.

    Args:
        scores: `[n]`.
        thresholds: has `exact` and `close`.

    Example:
        >>> tier_places([0.8, 0.5, 0.1], {"exact": 0.8, "close": 0.5}).tolist()
        [0, 1, 2]
    """
    reached = [at_least(scores, thresholds[name]) for name in THRESHOLDS]
    return np.argmax([*reached, np.ones(np.shape(scores), dtype=bool)], axis=0)


def tiers(scores: npt.ArrayLike, thresholds: Mapping[str, float]) -> list[Tier | None]:
    """Return the tier of each score `[n]`; None for each where the checkpoint lacks a threshold.

    Example:
        >>> tiers([0.8, 0.1], {"exact": 0.8, "close": 0.5}), tiers([0.8], {})
        (['exact', 'irrelevant'], [None])
    """
    if not has_tiers(thresholds):
        return [None] * len(np.asarray(scores))
    return [TIERS[place] for place in tier_places(scores, thresholds)]


def in_tier(scores: npt.ArrayLike, thresholds: Mapping[str, float], least: Tier) -> npt.NDArray[np.bool_]:
    """Return which scores `[n]` reach a tier or a better one; all of them reach `irrelevant`.

    Args:
        scores: `[n]`.
        thresholds: has `exact` and `close`.
        least: the tier.

    Example:
        >>> in_tier([0.8, 0.5, 0.1], {"exact": 0.8, "close": 0.5}, "close").tolist()
        [True, True, False]
    """
    return tier_places(scores, thresholds) <= TIERS.index(least)


def best_in_tier(scores: npt.ArrayLike, thresholds: Mapping[str, float], least: Tier | None) -> list[int]:
    """Return the places of the scores `[n]` that reach a tier, the highest first; equal ones stay in order.

    Args:
        scores: `[n]`.
        thresholds: has `exact` and `close`, where a tier is given.
        least: the tier; None for all scores.

    Example:
        >>> best_in_tier([0.5, 0.1, 0.8], {"exact": 0.8, "close": 0.5}, "close")
        [2, 0]
    """
    order = best_first(scores)
    if least is None:
        return order
    reached = in_tier(scores, thresholds, least)
    return [place for place in order if reached[place]]


def no_good_match(scores: npt.ArrayLike, thresholds: Mapping[str, float]) -> bool | None:
    """Return whether no product of a query, `[n]` scores, reaches `close`; None where the checkpoint has no tiers.

    Example:
        >>> no_good_match([0.4, 0.1], {"exact": 0.8, "close": 0.5}), no_good_match([], {"exact": 0.8, "close": 0.5})
        (True, True)
    """
    return not in_tier(scores, thresholds, GOOD).any() if has_tiers(thresholds) else None


def as_tier(given: Any, thresholds: Mapping[str, float]) -> Tier:
    """Return a tier that somebody named as the least one to be shown.

    Raises:
        BadInput: it is none, or the checkpoint has no thresholds.

    Example:
        >>> as_tier("close", {"exact": 0.8, "close": 0.5})
        'close'
    """
    if given not in TIERS:
        raise BadInput(f"min_tier is {shown(given)}; tiers are {', '.join(TIERS)}")
    if not has_tiers(thresholds):
        raise BadInput(f"min_tier={given}: this model has no tiers; find them with gen-rerank calibrate MODEL DATA")
    return cast(Tier, given)
