"""Where tiers begin: the threshold that keeps a promise, or the one that comes nearest where none can be promised.

Each promise holds with 90% confidence of its own, so that two hold together with 80% at least. Thresholds of a fixed
grid are walked over from the safest on (`risk_control`); the last one that is kept shows the most, or misses the
least. One that shows nothing at all, or leaves nothing out, promises nothing worth having and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gen_rerank.calibration.promises import CONFIDENCE, DEFAULT_PROMISES, GRID, TIER_RELEVANCE, Promise, TierLosses
from gen_rerank.calibration.risk_control import kept_steps, least_queries, upper_bound
from gen_rerank.calibration.tiers import DEFAULT_THRESHOLDS, THRESHOLDS, Tier
from gen_rerank.checkpoints.card import PromiseRecord
from gen_rerank.data.folds import Places
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.reporting.numbers import counted, figure

# The seed of the order in which queries are looked at, one by one.
_ORDER = 0


@dataclass(frozen=True)
class TierChoice:
    """Where a tier begins, and what is promised of it.

    Attributes:
        promise: what was asked.
        threshold: where the tier begins.
        kept: whether the promise holds with 90% confidence.
        queries: how many have a say.
        observed: their mean loss at the threshold; None where none has a say.
        bound: what the loss is at most, with 90% confidence.
        reason: why it is not promised; empty where it is.
    """

    promise: Promise
    threshold: float
    kept: bool
    queries: int
    observed: float | None
    bound: float | None
    reason: str = ""

    @property
    def at_most(self) -> str:
        """The bound as people read it, rounded up."""
        assert self.bound is not None
        return _rounded_up(self.bound)

    @property
    def record(self) -> PromiseRecord:
        """What the card says of it."""
        return PromiseRecord(
            promise=str(self.promise),
            kept=self.kept,
            confidence=CONFIDENCE,
            queries=self.queries,
            observed=None if self.observed is None else round(self.observed, 6),
            bound=None if self.bound is None else round(self.bound, 6),
        )


def all_promises(given: Sequence[str | Promise]) -> dict[Tier, Promise]:
    """Return one promise a tier: those that are given, and the usual one of a tier of which nothing is.

    Raises:
        BadInput: one is no promise, or two are about one tier.

    Example:
        >>> [str(one) for one in all_promises(["exact: wrong <= 2%"]).values()]
        ['exact: wrong <= 2%', 'close: missed <= 10%']
    """
    found: dict[Tier, Promise] = {}
    for one in given:
        promise = Promise.parse(one) if isinstance(one, str) else one
        if promise.tier in found:
            raise BadInput(
                f"two promises are about {promise.tier} ({found[promise.tier]}; {promise}), and it has one threshold; "
                "give one"
            )
        found[promise.tier] = promise
    usual = {one.tier: one for one in DEFAULT_PROMISES}
    return {tier: found.get(tier, usual[tier]) for tier in THRESHOLDS}


def choose_thresholds(
    scores: npt.ArrayLike, relevance: npt.ArrayLike, queries: Places, promises: Mapping[Tier, Promise]
) -> dict[Tier, TierChoice]:
    """Return where each tier begins, `exact` not below `close`.

    Args:
        scores: `[n]`.
        relevance: `[n]`.
        queries: `[n]`, numbered from 0 on.
        promises: one a tier.
    """
    losses = {tier: TierLosses.of(tier, scores, relevance, queries, GRID) for tier in THRESHOLDS}
    found = {tier: _choose(promises[tier], losses[tier]) for tier in THRESHOLDS}
    exact, close = found["exact"], found["close"]
    if exact.threshold >= close.threshold:
        return found
    if close.promise.loss == "missed":  # a lower threshold misses less
        return {**found, "close": _moved(close, losses["close"], exact.threshold, close.kept)}
    # Whatever is stricter than a threshold that was walked over to was walked over too.
    kept = exact.kept and exact.promise.loss == "wrong"
    return {**found, "exact": _moved(exact, losses["exact"], close.threshold, kept)}


def _choose(promise: Promise, losses: TierLosses) -> TierChoice:
    by_query = shuffled(losses.by_query(promise.loss))
    queries = by_query.shape[1]
    usual = DEFAULT_THRESHOLDS[promise.tier]
    if not queries:
        reason = f"no query has a product with a relevance of {TIER_RELEVANCE[promise.tier]:g} or more"
        return TierChoice(promise, usual, False, 0, None, None, reason)
    order = np.arange(len(GRID))[:: -1 if promise.loss == "wrong" else 1]
    means = by_query.mean(axis=1)[order]
    by_query = by_query[order]
    shown = losses.shown.sum(axis=1)[order]
    divides = shown > 0 if promise.loss == "wrong" else shown < losses.products.sum()
    kept = kept_steps(by_query, promise.limit, CONFIDENCE)
    if kept and divides[kept - 1]:
        return _at(promise, float(GRID[order[kept - 1]]), by_query[kept - 1])
    if not divides.any():
        apart = "shows a product" if promise.loss == "wrong" else "leaves a product out"
        there = by_query[int(np.abs(GRID[order] - usual).argmin())]
        return replace(_at(promise, usual, there), kept=False, reason=f"no threshold {apart}")
    within = means <= promise.limit
    first_over = len(within) if within.all() else int(within.argmin())
    nearest = first_over - 1
    if first_over == 0 or not divides[nearest]:
        nearest = int(np.where(divides, means, np.inf).argmin())
    choice = _at(promise, float(GRID[order[nearest]]), by_query[nearest])
    best = by_query[int(np.where(divides, means, np.inf).argmin())]
    return replace(choice, kept=False, reason=_why_not(choice, best))


def shuffled(losses: Doubles) -> Doubles:
    """Return losses `[thresholds, queries]` with the queries in a fixed order that has nothing to do with them."""
    return losses[:, np.random.default_rng(_ORDER).permutation(losses.shape[1])]


def _at(promise: Promise, threshold: float, losses: Doubles) -> TierChoice:
    """Return a threshold that is kept, with what its losses `[queries]` say; who says otherwise gives a reason."""
    bound = upper_bound(losses, CONFIDENCE)
    return TierChoice(promise, threshold, True, len(losses), float(losses.mean()), bound)


def _moved(choice: TierChoice, losses: TierLosses, threshold: float, kept: bool) -> TierChoice:
    """Return the choice at the other tier's threshold."""
    if not choice.queries:
        return replace(choice, threshold=threshold)
    there = shuffled(losses.by_query(choice.promise.loss))[int(np.abs(GRID - threshold).argmin())]
    reason = choice.reason or ("" if kept else "exact would begin below close, so it was moved up to it")
    return replace(_at(choice.promise, threshold, there), kept=kept, reason=reason)


def _why_not(choice: TierChoice, best: Doubles) -> str:
    """Return why a promise is not made, and what would do.

    Args:
        choice: the nearest threshold.
        best: the losses `[queries]` at the threshold with the lowest, of those that show a product, or leave one out.
    """
    assert choice.observed is not None
    loss, lowest = choice.promise.loss, _share(float(best.mean()))
    of_how_many = counted(choice.queries, "query", "queries")
    said = f"{of_how_many} with {_share(choice.observed)} {loss} at this threshold prove at most {choice.at_most}"
    needed = least_queries(best, choice.promise.limit, CONFIDENCE)
    if needed is None:
        does = "that shows a product" if loss == "wrong" else "that leaves a product out"
        return f"{said}; no threshold {does} has less than {lowest} {loss}, so more queries do not help"
    if choice.queries >= needed:
        return f"{said}; a stricter one, with {lowest}, comes after others that are not kept"
    at_best = _rounded_up(upper_bound(best, CONFIDENCE))
    return f"{said}; at best, where {lowest} is {loss}, so many queries allow {at_best}, and about {needed:,} would do"


def _share(value: float) -> str:
    return figure(value, ".1%")


def _rounded_up(bound: float) -> str:
    return _share(math.ceil(1000 * bound - 1e-6) / 1000)
