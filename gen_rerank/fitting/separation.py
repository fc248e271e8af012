"""How far apart good and bad products' scores lie: their overlap, the threshold with the best F1, queries without any.

Two groups that overlap cannot be told apart by any threshold, whatever is promised of it; that is said in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gen_rerank.calibration.promises import TIER_RELEVANCE
from gen_rerank.calibration.tiers import Tier
from gen_rerank.data.folds import Places
from gen_rerank.evaluation.intervals import RESAMPLES, Interval, draws
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.reporting.numbers import figure

BARS = 20
# From here on the two groups count as separated: of what is found and of what there is, nine in ten are the same.
CLEAN_F1 = 0.9

_STEPS = np.round(np.linspace(0.0, 1.0, 101), 2)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Separation:
    """How well one threshold can part the products that are as relevant as a tier asks from the others.

    Attributes:
        tier: whose relevance makes a product good.
        good: `[20]`, the share of good products by score, from 0 to 1; zeros where there are none.
        bad: `[20]`, the same of the others.
        overlap: the area that both have in common, from 0 (apart) to 1 (alike); None where a group is empty.
        threshold: at which F1 over all products is best, with its interval over queries; None where no product is good.
        f1: there, with its interval.
        without: how many queries have no good product.
        queries: how many there are.
    """

    tier: Tier
    good: tuple[float, ...]
    bad: tuple[float, ...]
    overlap: float | None
    threshold: Interval | None
    f1: Interval | None
    without: int
    queries: int

    @property
    def is_clean(self) -> bool:
        """Whether one threshold parts good from bad: an F1 of 0.9 or more."""
        return self.f1 is not None and self.f1.mean >= CLEAN_F1

    @property
    def sentence(self) -> str:
        """What people read of it."""
        about = f"{self.tier} (relevance {TIER_RELEVANCE[self.tier]:g} or more)"
        none = f"{self.without:,} of {self.queries:,} queries have no such product"
        if self.f1 is None or self.threshold is None:
            return f"{about}: {none}"
        clean = "a clean separation" if self.is_clean else "no clean separation"
        overlap = "" if self.overlap is None else f"{figure(self.overlap, '.0%')} of the scores overlap, "
        return (
            f"{about}: {clean}: {overlap}best F1 {self.f1.shown('.2f')} from a score of "
            f"{self.threshold.shown('.2f')} on; {none}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "clean": self.is_clean,
            "overlap": self.overlap,
            "best_f1": None if self.f1 is None else self.f1.to_json(),
            "best_threshold": None if self.threshold is None else self.threshold.to_json(),
            "queries_without": self.without,
            "good": list(self.good),
            "bad": list(self.bad),
        }


def separation(
    tier: Tier, scores: npt.ArrayLike, relevance: npt.ArrayLike, queries: Places, *, seed: int = 0
) -> Separation:
    """Return how far apart the two groups lie.

    Args:
        tier: whose relevance makes a product good.
        scores: `[n]` in [0, 1].
        relevance: `[n]` in [0, 1].
        queries: `[n]`, numbered from 0 on.
        seed: of the bootstrap over queries.

    Example:
        >>> separation("close", [0.9, 0.1], [1.0, 0.0], np.array([0, 0])).overlap
        0.0
    """
    given = np.asarray(scores, dtype=np.float64)
    is_good = np.asarray(relevance, dtype=np.float64) >= TIER_RELEVANCE[tier] - _ROUNDING
    count = int(queries.max(initial=-1)) + 1
    good, bad = _bars(given[is_good]), _bars(given[~is_good])
    without = count - len(np.unique(queries[is_good]))
    overlap = float(np.minimum(good, bad).sum()) if is_good.any() and not is_good.all() else None
    threshold, f1 = _best_f1(given, is_good, queries, count, seed) if is_good.any() else (None, None)
    return Separation(tier, tuple(good.tolist()), tuple(bad.tolist()), overlap, threshold, f1, without, count)


def _bars(scores: Doubles) -> Doubles:
    """Return the share of scores in each bar, `[20]`."""
    counts = np.histogram(scores, bins=BARS, range=(0.0, 1.0))[0]
    return counts / max(len(scores), 1)


def _best_f1(
    scores: Doubles, is_good: npt.NDArray[np.bool_], queries: Places, count: int, seed: int
) -> tuple[Interval, Interval]:
    """Return the threshold with the best F1 and that F1, each with its bootstrap interval over queries."""
    reached = np.searchsorted(_STEPS.astype(np.float32), scores.astype(np.float32), side="right") - 1
    shown, right = np.zeros((2, count, len(_STEPS)))
    np.add.at(shown, (queries, reached), 1.0)
    np.add.at(right, (queries[is_good], reached[is_good]), 1.0)
    shown, right = (table[:, ::-1].cumsum(axis=1)[:, ::-1] for table in (shown, right))

    def f1(weights: Doubles) -> Doubles:
        """Return F1 by resample and threshold; `weights` are how often each query was drawn, `[resamples, queries]`."""
        hits = weights @ right
        return 2 * hits / np.maximum(weights @ shown + hits[:, :1], 1.0)

    best = f1(np.ones((1, count)))[0]
    at = int(best.argmax())
    rng = np.random.default_rng(seed)
    thresholds, values = [], []
    for rows in draws(RESAMPLES, count):
        found = f1(rng.multinomial(count, np.full(count, 1 / count), size=rows).astype(np.float64))
        thresholds.append(_STEPS[found.argmax(axis=1)])
        values.append(found[:, at])
    ends = [np.quantile(np.concatenate(drawn), [0.025, 0.975]) for drawn in (thresholds, values)]
    return (
        Interval(float(_STEPS[at]), float(ends[0][0]), float(ends[0][1]), count),
        Interval(float(best[at]), float(ends[1][0]), float(ends[1][1]), count),
    )
