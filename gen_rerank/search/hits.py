"""A product of an answer: where the lists had it, and what a model says of it; and candidates in a model's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gen_rerank.bins import Distribution, best_first
from gen_rerank.calibration.tiers import TIERS, Tier, tiers
from gen_rerank.data.records import Product
from gen_rerank.search.candidates import ProductCandidate


@dataclass(frozen=True, eq=False)
class Hit:
    """One product of an answer.

    Attributes:
        product: what was found.
        ranks: its place in each list that found it, from 1.
        score: the mean of its distribution, in [0, 1]; None where no model ranked it.
        std: the standard deviation, in units of the score; None where no model ranked it.
        tier: None where no model ranked it, or the model has no thresholds.
        distribution: the probabilities of the eleven bins; None where no model ranked it.
    """

    product: Product
    ranks: dict[str, int]
    score: float | None = None
    std: float | None = None
    tier: Tier | None = None
    distribution: tuple[float, ...] | None = None

    def reaches(self, least: Tier) -> bool:
        """Return whether it is in a tier or a better one."""
        return self.tier is not None and TIERS.index(self.tier) <= TIERS.index(least)

    def to_json(self) -> dict[str, Any]:
        """Return it as an answer has it, numbers with six decimals."""
        return {
            "product_id": self.product.product_id,
            "title": self.product.title,
            "score": None if self.score is None else round(self.score, 6),
            "std": None if self.std is None else round(self.std, 6),
            "tier": self.tier,
            "probabilities": None if self.distribution is None else [round(share, 6) for share in self.distribution],
            "retrieved": dict(self.ranks),
        }


def hits_by_score(
    found: Sequence[ProductCandidate], scored: Distribution, thresholds: Mapping[str, float]
) -> list[Hit]:
    """Return candidates by their scores, best first; of equals, the one that was found first.

    Args:
        found: in the order in which they were found.
        scored: one distribution each.
        thresholds: where the model's tiers begin; empty where it has none.
    """
    names = tiers(scored.mean, thresholds)
    means, stds = scored.mean.tolist(), scored.std.tolist()
    return [
        Hit(
            found[i].product,
            dict(found[i].ranks),
            means[i],
            stds[i],
            names[i],
            tuple(scored.probabilities[i].tolist()),
        )
        for i in best_first(scored.mean)
    ]
