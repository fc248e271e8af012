"""What one can promise of a tier, in words and in numbers: what a query loses at each threshold.

*Wrong* is the share, of the products that are shown at or above the threshold, whose relevance is below the tier's; a
query that shows nothing loses nothing. *Missed* is the share, of the products that are as relevant as the tier asks,
that fall below the threshold; a query without such a product can miss none and has no say. Which threshold keeps a
promise, `risk_control` proves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from gen_rerank.calibration.tiers import THRESHOLDS, Tier
from gen_rerank.errors import BadInput

Loss = Literal["wrong", "missed"]
Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]

CONFIDENCE = 0.9
# From which relevance on a product is what a tier says.
TIER_RELEVANCE: dict[Tier, float] = {"exact": 0.8, "close": 0.5}
# The thresholds that are tried: fixed before any data are seen, as the walk over them asks.
GRID: Doubles = np.round(np.linspace(0.0, 1.0, 1001), 3)
GRID.flags.writeable = False

_FORM = re.compile(r"\s*(\w+)\s*:\s*(\w+)\s*(?:<=|≤)\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*")
_EXAMPLE = 'write it as in "exact: wrong <= 5%" or "close: missed <= 10%"'
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Promise:
    """A limit of a tier's loss over queries.

    Attributes:
        tier: `exact` or `close`.
        loss: `wrong` or `missed`.
        limit: above 0 and below 1.

    Example:
        >>> Promise.parse("exact: wrong <= 5%")
        Promise(tier='exact', loss='wrong', limit=0.05)
    """

    tier: Tier
    loss: Loss
    limit: float

    @classmethod
    def parse(cls, text: str) -> Promise:
        """Return what a text promises.

        Raises:
            BadInput: it is no promise; the sentence shows what one looks like.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadInput(f"{text!r} is no promise; {_EXAMPLE}")
        tier, loss = found[1].lower(), found[2].lower()
        if tier not in THRESHOLDS:
            raise BadInput(f"{text!r}: a promise is about exact or close, not {found[1]!r}; {_EXAMPLE}")
        if loss not in ("wrong", "missed"):
            raise BadInput(f"{text!r}: products can be wrong or missed, not {found[2]!r}; {_EXAMPLE}")
        limit = float(found[3]) / (100 if found[4] else 1)
        if not 0 < limit < 1:
            raise BadInput(f"{text!r}: the limit must lie between 0% and 100%; {_EXAMPLE}")
        return cls(cast(Tier, tier), cast(Loss, loss), limit)

    def __str__(self) -> str:
        """Return `exact: wrong <= 5%`."""
        return f"{self.tier}: {self.loss} <= {100 * self.limit:.10g}%"

    @property
    def safest_first(self) -> Doubles:
        """The thresholds in the order in which they are tried: strict ones show little, loose ones miss little."""
        return GRID[::-1] if self.loss == "wrong" else GRID


DEFAULT_PROMISES = (Promise("exact", "wrong", 0.05), Promise("close", "missed", 0.10))


@dataclass(frozen=True, eq=False)
class TierLosses:
    """What each query loses at each threshold.

    Attributes:
        wrong: `[thresholds, queries]` in [0, 1].
        missed: `[thresholds, queries]` in [0, 1]; NaN for a query without a product of the tier.
        shown: `[thresholds, queries]`, how many products reach the threshold.
        products: `[queries]`, how many there are.
    """

    wrong: Doubles
    missed: Doubles
    shown: Counts
    products: Counts

    @classmethod
    def of(
        cls,
        tier: Tier,
        scores: npt.ArrayLike,
        relevance: npt.ArrayLike,
        queries: npt.NDArray[np.int64],
        thresholds: npt.ArrayLike,
    ) -> TierLosses:
        """Return the losses of a tier.

        Args:
            tier: `exact` or `close`.
            scores: `[n]`, compared with thresholds in float32, as `tiers.at_least` does.
            relevance: `[n]` in [0, 1].
            queries: `[n]`, the number of each product's query, from 0 on without a gap.
            thresholds: rising.

        Example:
            >>> found = TierLosses.of("exact", [0.9, 0.7], [1.0, 0.0], np.array([0, 0]), [0.5, 0.8])
            >>> found.wrong.tolist(), found.missed.tolist()
            ([[0.5], [0.0]], [[0.0], [0.0]])
        """
        steps = np.asarray(thresholds, dtype=np.float32)
        reached = np.searchsorted(steps, np.asarray(scores, dtype=np.float32), side="right")
        good = np.asarray(relevance, dtype=np.float64) >= TIER_RELEVANCE[tier] - _ROUNDING
        shape = (len(steps) + 1, int(queries.max(initial=-1)) + 1)

        def counts(chosen: npt.NDArray[np.bool_]) -> Counts:
            """Return how many of the chosen products reach each threshold, by query."""
            table = np.zeros(shape, dtype=np.int32)
            np.add.at(table, (reached[chosen], queries[chosen]), 1)
            return table[::-1].cumsum(axis=0, dtype=np.int32)[::-1]

        everything, fitting = counts(np.ones_like(good)), counts(good)
        shown, right = everything[1:], fitting[1:]
        wrong = np.divide(shown - right, shown, out=np.zeros(shown.shape), where=shown > 0)
        missed = np.divide(fitting[0] - right, fitting[0], out=np.full(shown.shape, np.nan), where=fitting[0] > 0)
        return cls(wrong, missed, shown, everything[0])

    def by_query(self, loss: Loss) -> Doubles:
        """Return a loss `[thresholds, queries]` of the queries that have a say."""
        found = self.wrong if loss == "wrong" else self.missed
        return found[:, ~np.isnan(found).any(axis=0)] if len(found) else found
