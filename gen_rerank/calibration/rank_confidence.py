"""How sure one may be that the product in the first place is the best of those that are shown.

Each product's relevance is one of eleven values, drawn from its distribution, and products are independent given the
query. Then the answer is a sum over the eleven values, with no sampling: with F the distribution functions, the first
product is at least as good as all others with probability Σ_k p_first(k) · Π_others F(k).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gen_rerank.errors import BadInput

# The first is better this much more often than the other is, or less: then their order says next to nothing.
NEAR_TIE = 0.1


@dataclass(frozen=True)
class RankConfidence:
    """What the distributions say of a ranking's first place.

    Attributes:
        first_is_best: the probability that no other product is more relevant than the first.
        near_tie: whether some other product is better almost as often as the first is: how often the first of the two
            is better, less how often the other is, is at most 0.1. Products that are surely alike are one too.

    Example:
        >>> RankConfidence(0.97, near_tie=False).sentence
        'the first is the best of these with a probability of 97%'
    """

    first_is_best: float
    near_tie: bool

    @property
    def sentence(self) -> str:
        """What people read of it."""
        said = f"the first is the best of these with a probability of {self.first_is_best:.0%}"
        return f"{said}; a near tie: another is better almost as often" if self.near_tie else said

    def to_json(self) -> dict[str, float | bool]:
        """Return both figures, the probability as `rank_confidence`."""
        return {"rank_confidence": round(self.first_is_best, 6), "near_tie": self.near_tie}


def rank_confidence(distributions: npt.ArrayLike) -> RankConfidence | None:
    """Return how sure the first place is; None where nothing is shown.

    Args:
        distributions: `[n, 11]`, the probabilities of the products that are shown, in their order.

    Raises:
        BadInput: another shape.

    Example:
        >>> sure, unsure = np.eye(11)[5], np.full(11, 1 / 11)
        >>> round(rank_confidence([sure, unsure]).first_is_best, 3)
        0.545
    """
    rows = np.asarray(distributions, dtype=np.float64)
    if rows.size == 0:
        return None
    if rows.ndim != 2:
        raise BadInput(f"rank_confidence needs distributions of shape [n, 11], not {list(rows.shape)}")
    reached = np.minimum(np.cumsum(rows, axis=1) / rows.sum(axis=1, keepdims=True), 1.0)
    below = np.hstack([np.zeros((len(rows), 1)), reached[:, :-1]])
    first = rows[0] / rows[0].sum()
    # How often the first is better than each of the others, less how often it is worse.
    leads = (reached[1:] + below[1:] - 1.0) @ first
    return RankConfidence(float(first @ reached[1:].prod(axis=0)), bool((leads <= NEAR_TIE).any()))
