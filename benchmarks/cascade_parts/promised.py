"""How often a cascade's promise is broken: bounds are chosen on drawn queries, and measured on all, or on others."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from gen_rerank.calibration.promises import CONFIDENCE
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.search.cascade.fit import choose_bounds
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings

HALVES, DRAWS = "halves", "draws"


@dataclass(frozen=True)
class PromiseDraw:
    """One draw.

    Attributes:
        kept: whether something was promised.
        lost: what nDCG lost where it was measured, between the bounds that were chosen.
        read: the share of the products that the decoder read there.
    """

    kept: bool
    lost: float
    read: float


def drawn_outcomes(
    readings: TwoReadings, losses: CascadeLosses, k: int, at_most: float, way: str, draws: int, seed: int
) -> list[PromiseDraw]:
    """Return what becomes of a promise in so many draws.

    Args:
        readings: of judged queries.
        losses: of them.
        k: how many places count.
        at_most: what is promised.
        way: `halves`, where the other half measures, or `draws` with replacement of as many queries as there are, where
            all of them measure, so that what is promised is known exactly.
        draws: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(~np.isnan(losses.lost).any(axis=0))
    found = []
    for _ in range(draws):
        if way == HALVES:
            order = rng.permutation(known)
            fitted, measured = order[: len(order) // 2], order[len(order) // 2 :]
        else:
            fitted, measured = rng.choice(known, size=len(known)), known
        choice = choose_bounds(readings, _of(losses, fitted), k, at_most, Calibration())
        lost, share = losses.lost[choice.step, measured], losses.share[choice.step, measured]
        found.append(PromiseDraw(choice.loss.kept, float(lost.mean()), float(share.mean())))
    return found


def summary(found: list[PromiseDraw], at_most: float) -> dict[str, Any]:
    """Return how often a promise was made and broken, and what was read where it was made."""
    kept = [one for one in found if one.kept]
    broken = sum(one.lost > at_most for one in kept)
    return {
        "draws": len(found),
        "promised": len(kept),
        "broken": broken,
        "broken_share": broken / len(found),
        "may_be_broken": 1 - CONFIDENCE + 2 * sqrt(CONFIDENCE * (1 - CONFIDENCE) / len(found)),
        "mean_lost": float(np.mean([one.lost for one in kept])) if kept else None,
        "read": float(np.mean([one.read for one in kept])) if kept else None,
    }


def _of(losses: CascadeLosses, queries: np.ndarray[Any, np.dtype[np.integer]]) -> CascadeLosses:
    """Return the losses of some queries; who read which product is not kept."""
    return CascadeLosses(losses.bounds, losses.by_decoder, losses.lost[:, queries], losses.share[:, queries])
