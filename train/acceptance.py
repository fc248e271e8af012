"""How strong an adapter may be, and whether it is written: a gain beyond chance, and a loss in ranking excluded.

The rule is that of a non-inferiority trial: what one presumes is that the ranking is worse, and the data must exclude
it (the lower end of the 95% interval, against a margin that was fixed before). Strengths are tried in a fixed order,
the weakest first, as long as none does harm; no correction for their number is needed then (fixed-sequence testing:
Maurer, Hothorn & Lehmacher 1995; Westfall & Krishen 2001, Journal of Statistical Planning and Inference 99). How the
predictions came about is `cross_fitting`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.evaluation.evaluation import HEADLINE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.power import Power
from gen_rerank.evaluation.verdicts import signed_interval
from train.cross_fitting import STRENGTHS, OutOfFold, within_one_error


@dataclass(frozen=True)
class Acceptance:
    """What held-out queries say for and against an adapter.

    Attributes:
        after: the adapter on queries that it was not trained on.
        rival: the base on the same queries, with a temperature that was fitted likewise: what a temperature alone gives
            is no merit of the adapter's.
        margin: the loss in the headline measure that must be excluded, above 0 or 0.
    """

    after: Evaluation
    rival: Evaluation
    margin: float

    @cached_property
    def gains(self) -> dict[str, Interval]:
        """After − rival, paired by query, with 95% intervals; RPS is better when lower."""
        return difference(self.after, self.rival)

    @property
    def harm(self) -> str | None:
        """What harm is there or cannot be excluded; None where none is."""
        return harm_of(self.gains, self.margin)

    @property
    def refusal(self) -> str | None:
        """Why the adapter must not be written, with what the queries could have shown; None lets it be written."""
        reason = refused_because(self.gains, self.margin)
        if reason is None:
            return None
        seen = ", ".join(f"{name} {signed_interval(self.gains[name])}" for name in (HEADLINE, RPS))
        return (
            f"no adapter was written: {reason} ({self.after.queries} queries, each predicted by a training without it, "
            f"against the base with a temperature of its own: {seen}; RPS is better when lower). "
            f"{' '.join(self.remarks)} Use the base as it is, or bring more judged queries"
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What gain the queries could have shown, and how many would show the one that was seen: sentences."""
        ranking, rps = (
            Power.of(sign * (self.after.per_query[name] - self.rival.per_query[name]))
            for name, sign in ((HEADLINE, 1), (RPS, -1))
        )
        remarks = (
            gain_sentence(HEADLINE, ranking, shown=self.gains[HEADLINE].low > 0),
            gain_sentence(RPS, rps, shown=self.gains[RPS].high < 0),
        )
        if self.gains[HEADLINE].low >= -self.margin:
            return remarks
        return (*remarks, loss_sentence(ranking, self.margin))


def strongest(found: OutOfFold, name: str, margin: float) -> tuple[float, Acceptance]:
    """Return the strength at which an adapter is best, of those that do no harm, and what speaks for and against it.

    Strengths are tried from the weakest on; the first that may do harm ends it. The best one is the weakest whose RPS
    is within one standard error of the lowest. Where none may be written, it is the last one that was tried.

    Args:
        found: what the folds say.
        name: of the adapter, for people.
        margin: the loss in the headline measure that must be excluded.
    """
    rival = evaluate("base", found.judged, Distribution.from_logits(found.rival().numpy()))
    tried: list[tuple[float, Acceptance]] = []
    for strength in STRENGTHS:
        after = evaluate(name, found.judged, Distribution.from_logits(found.adapted(strength).numpy()))
        tried.append((strength, Acceptance(after, rival, margin)))
        if tried[-1][1].harm is not None:
            break
    found_good = [one for one in tried if one[1].refusal is None] or tried[-1:]
    return found_good[within_one_error(np.stack([one[1].after.per_query[RPS] for one in found_good]))]


def harm_of(gains: Mapping[str, Interval], margin: float) -> str | None:
    """Return what harm an adapter with these gains does, or may do; None where it is excluded.

    Args:
        gains: after − before with 95% intervals, by measure, the headline and RPS among them; RPS is better when lower.
        margin: the loss in the headline measure that must be excluded.

    Example:
        >>> gains = {"nDCG@5": Interval(0.0, -0.02, 0.02), "RPS": Interval(-0.02, -0.03, -0.01)}
        >>> harm_of(gains, margin=0.01)
        'its ranking may be worse: a loss of more than 0.01 in nDCG@5 cannot be excluded'
    """
    ranking, rps = gains[HEADLINE], gains[RPS]
    if rps.low > 0:
        return "its distributions are worse, beyond chance"
    if ranking.high < 0:
        return "its ranking is worse, beyond chance"
    if ranking.low < -margin:
        return f"its ranking may be worse: a loss of more than {margin:g} in {HEADLINE} cannot be excluded"
    return None


def refused_because(gains: Mapping[str, Interval], margin: float) -> str | None:
    """Return why an adapter with these gains must not be written; None where nothing is against it.

    The arguments are those of `harm_of`.
    """
    if not (gains[HEADLINE].low > 0 or gains[RPS].high < 0):
        return "no gain over the base is beyond chance"
    return harm_of(gains, margin)


def gain_sentence(name: str, power: Power, *, shown: bool) -> str:
    """Return what gain in a measure so many queries could have shown, and what became of the one that was seen.

    Args:
        name: of the measure.
        power: of the gains, query by query: above 0 is better.
        shown: whether the gain that was seen is beyond chance.

    Example:
        >>> gain_sentence("nDCG@5", Power(100, mean=0.01, spread=0.1), shown=False)
        'nDCG@5: 100 queries show a gain of 0.0280 4 times in 5; the one seen, 0.0100, takes about 785 (685 more).'
    """
    could = f"{name}: {power.queries:,} queries show a gain of {power.detectable:.4f} 4 times in 5"
    if power.mean <= 0:
        return f"{could}; none was seen."
    if shown:
        return f"{could}; the one seen, {power.mean:.4f}, is beyond chance."
    needed = max(power.queries_for(power.mean), power.queries + 1)
    return f"{could}; the one seen, {power.mean:.4f}, takes about {needed:,} ({needed - power.queries:,} more)."


def loss_sentence(ranking: Power, margin: float) -> str:
    """Return how many queries would exclude a loss in ranking beyond the margin, if the difference stays as it is.

    Args:
        ranking: of the differences in the headline measure.
        margin: the loss that must be excluded.
    """
    if ranking.mean <= -margin:
        return f"A loss in {HEADLINE} was seen, {ranking.mean:.4f}: more queries alone do not help."
    needed = max(ranking.queries_for(ranking.mean + margin), ranking.queries + 1)
    return (
        f"To exclude a loss of more than {margin:g} in {HEADLINE} takes about {needed:,} queries "
        f"({needed - ranking.queries:,} more)."
    )
