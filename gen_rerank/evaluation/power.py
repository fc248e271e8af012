"""What gain so many judged queries can show at all, and how many it would take to show the one that was seen.

Normal theory of a paired comparison (Sakai, "Topic set size design", Information Retrieval Journal 19, 2016): by the
spread of the differences between queries. Intervals and tests are `intervals`' and `significance`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

# A two-sided test at 5% that finds a true difference four times in five (a power of 80%).
_WIDTHS = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Power:
    """The differences between two systems over queries, as far as they say what can be shown with them.

    Attributes:
        queries: how many have a difference.
        mean: of the differences.
        spread: their standard deviation.

    Example:
        >>> found = Power(queries=100, mean=0.01, spread=0.1)
        >>> round(found.detectable, 3), found.queries_for(0.01)
        (0.028, 785)
    """

    queries: int
    mean: float
    spread: float

    @classmethod
    def of(cls, differences: npt.ArrayLike) -> Power:
        """Return the power of per-query differences `[queries]`, two at least; NaN leaves a query out."""
        given = np.asarray(differences, dtype=np.float64)
        known = given[~np.isnan(given)]
        assert len(known) > 1, "one query has no spread"
        return cls(len(known), float(known.mean()), float(known.std(ddof=1)))

    @property
    def detectable(self) -> float:
        """The smallest true difference that so many queries show four times in five."""
        return _WIDTHS * self.spread / math.sqrt(self.queries)

    def queries_for(self, difference: float) -> int:
        """Return how many queries of this spread show a true difference above 0 four times in five."""
        assert difference > 0, "no number of queries shows that nothing differs"
        return math.ceil((_WIDTHS * self.spread / difference) ** 2)
