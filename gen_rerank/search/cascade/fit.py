"""Which bounds keep a promise about the cascade's answers, or come nearest where none can be promised.

The promise: over all queries, nDCG@k is at most so much below the decoder's own ranking of everything, with 90%
confidence over draws of queries. Bounds are walked over from the safest on (`risk_control`, Learn then Test), and the
tiers walk along: where the decoder's card keeps a promise of a tier, the answers of the cascade are to keep it too, by
the decoder's thresholds, whoever has read a product. The bounds are the loosest that keep all of those.

A query's loss of nDCG lies between -1 and 1, since the cascade may be better; the test takes it to [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen_rerank.calibration.promises import CONFIDENCE, Promise
from gen_rerank.calibration.risk_control import kept_steps, least_queries, upper_bound
from gen_rerank.calibration.tiers import Tier
from gen_rerank.checkpoints.card import Calibration, PromiseRecord
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.fitting.thresholds import shuffled
from gen_rerank.reporting.numbers import counted, figure
from gen_rerank.search.cascade.card import LossRecord
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from gen_rerank.search.cascade.reading import Bounds

AT_MOST = 0.005
# Fixed before any data are seen, as the walk asks. At the first the decoder reads everything that can be among the best
# at all; at low = 1 only what would be shown, which is k products or a few more; at the last nothing.
_LOW = (
    0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8,
    1.0,
)  # fmt: skip
_HIGH = (0.95, 0.9, 0.8, 0.7, 0.5, 0.0)
STEPS: tuple[Bounds, ...] = (*(Bounds(low) for low in _LOW), *(Bounds(1.0, high) for high in _HIGH))


@dataclass(frozen=True, eq=False)
class BoundsChoice:
    """The bounds of a cascade, and what is promised of them.

    Attributes:
        step: their place in the walk.
        bounds: between which a product is read.
        loss: what is promised of the ranking.
        tiers: what is promised of each tier of the answers, of which the decoder's card promises something.
        share: of each query's products, what the decoder reads, `[queries]`.
    """

    step: int
    bounds: Bounds
    loss: LossRecord
    tiers: dict[Tier, PromiseRecord]
    share: Doubles


def promise_text(k: int, at_most: float) -> str:
    """Return what is promised of the ranking, in words.

    Example:
        >>> promise_text(5, 0.005)
        'nDCG@5: lost <= 0.005'
    """
    return f"nDCG@{k}: lost <= {at_most:g}"


def tier_promises(decoder: Calibration) -> dict[Tier, Promise]:
    """Return the promises that a card keeps, by tier."""
    kept = [Promise.parse(one.promise) for one in decoder.promises.values() if one.kept]
    return {one.tier: one for one in kept}


def choose_bounds(
    readings: TwoReadings,
    losses: CascadeLosses,
    k: int,
    at_most: float,
    decoder: Calibration,
    *,
    doubt: str = "",
) -> BoundsChoice:
    """Return the loosest bounds that keep all promises; those that come nearest where none of them does.

    Args:
        readings: of judged queries.
        losses: of them, for bounds that were fixed before, the safest first.
        k: how many places count.
        at_most: how much nDCG@k may be lost.
        decoder: where its tiers begin, and what is promised of them.
        doubt: why nothing can be promised on these queries; empty where something can.
    """
    lost = shuffled(losses.lost[:, ~np.isnan(losses.lost).any(axis=0)])
    text = promise_text(k, at_most)
    promises = tier_promises(decoder)
    tier_losses = {tier: _tier_losses(readings, losses, one, decoder) for tier, one in promises.items()}
    kept = {tier: kept_steps(tier_losses[tier], one.limit, CONFIDENCE) for tier, one in promises.items()}
    if not lost.shape[1]:
        reason = "no query has a product with a relevance above 0"
        record = LossRecord(promise=text, kept=False, confidence=CONFIDENCE, queries=0, reason=reason)
        return BoundsChoice(0, losses.bounds[0], record, {}, losses.share[0])
    steps = kept_steps(_unit(lost), _unit_limit(at_most), CONFIDENCE)
    reason = doubt
    if steps:
        step = min([steps, *(count for count in kept.values() if count)]) - 1
    else:
        within = lost.mean(axis=1) <= at_most
        step = max((len(within) if within.all() else int(within.argmin())) - 1, 0)
        reason = reason or _why_not(lost[step], at_most)
    found = lost[step]
    record = LossRecord(
        promise=text,
        kept=not reason,
        confidence=CONFIDENCE,
        queries=len(found),
        observed=round(float(found.mean()), 6),
        bound=round(lost_at_most(found), 6),
        reason=reason,
    )
    tiers = {
        tier: _tier_record(one, tier_losses[tier][step], kept[tier] > step and not doubt)
        for tier, one in promises.items()
    }
    return BoundsChoice(step, losses.bounds[step], record, tiers, losses.share[step])


def lost_at_most(lost: Doubles) -> float:
    """Return what nDCG loses at most, with 90% confidence, where it lost so much, `[queries]`, between given bounds.

    Example:
        >>> round(lost_at_most(np.zeros(1000)), 4)
        0.0032
    """
    return 2 * upper_bound(_unit(lost), CONFIDENCE) - 1


def _unit(lost: Doubles) -> Doubles:
    """Return differences as losses in [0, 1]."""
    return np.clip((1 + lost) / 2, 0.0, 1.0)


def _unit_limit(at_most: float) -> float:
    return (1 + at_most) / 2


def _tier_losses(readings: TwoReadings, losses: CascadeLosses, promise: Promise, decoder: Calibration) -> Doubles:
    """Return what each query with a say loses in a tier, `[bounds, queries]`."""
    threshold = decoder.thresholds[promise.tier]
    found = np.array([readings.tier_loss(row, promise, threshold) for row in losses.by_decoder])
    return shuffled(found[:, ~np.isnan(found).any(axis=0)])


def _tier_record(promise: Promise, lost: Doubles, kept: bool) -> PromiseRecord:
    some = len(lost) > 0
    return PromiseRecord(
        promise=str(promise),
        kept=kept and some,
        confidence=CONFIDENCE,
        queries=len(lost),
        observed=round(float(lost.mean()), 6) if some else None,
        bound=round(upper_bound(lost, CONFIDENCE), 6) if some else None,
    )


def _why_not(lost: Doubles, at_most: float) -> str:
    """Return why so many queries do not promise it, and what would do."""
    queries = counted(len(lost), "query", "queries")
    nothing = figure(lost_at_most(np.zeros(len(lost))), ".4f")
    said = (
        f"{queries} with {figure(float(lost.mean()), '.4f')} lost between these bounds prove at most "
        f"{figure(lost_at_most(lost), '.4f')}, and where nothing is lost {nothing}"
    )
    needed = least_queries(_unit(lost), _unit_limit(at_most), CONFIDENCE)
    if needed is None:
        return f"{said}; more queries like these do not help"
    return f"{said}; about {needed:,} that lose like these would do"
