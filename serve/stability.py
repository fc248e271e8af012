"""What a model has answered lately, beside what it answered at its calibration: an alarm for scores that have moved.

Older answers fade: each pair counts a ten-thousandth less than the next one, so that the last ten thousand pairs have
most of the say, whatever the traffic. Nothing is kept of a pair but the bars in which it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen_rerank.bins import Distribution
from gen_rerank.calibration.stability import score_histogram, stability_index
from gen_rerank.checkpoints.card import BARS, ScoreHistogram

# How many pairs have the say; the counts never add up to more.
WINDOW = 10_000
# With fewer the index is mostly chance.
LEAST_PAIRS = 1_000


@dataclass(frozen=True)
class Stability:
    """Two population stability indices, in nats.

    Attributes:
        scores: of the scores.
        stds: of the standard deviations.
    """

    scores: float
    stds: float


class RecentScores:
    """The histogram of a model's last answers.

    Args:
        reference: the one that its card keeps.

    Example:
        >>> recent = RecentScores(score_histogram(Distribution(np.eye(11)[[5] * 2000])))
        >>> recent.add(Distribution(np.eye(11)[[5] * 2000]))
        >>> recent.stability.scores < 0.01
        True
    """

    def __init__(self, reference: ScoreHistogram) -> None:
        self.reference = reference
        self._scores = np.zeros(BARS)
        self._stds = np.zeros(BARS)

    def add(self, scored: Distribution) -> None:
        """Count the pairs of an answer, and let the older ones fade."""
        found = score_histogram(scored)
        kept = (1 - 1 / WINDOW) ** len(scored)
        self._scores = kept * self._scores + found.scores
        self._stds = kept * self._stds + found.stds

    @property
    def stability(self) -> Stability | None:
        """How far they lie from the reference; None while there are fewer than a thousand pairs."""
        if self._scores.sum() < LEAST_PAIRS:
            return None
        return Stability(
            stability_index(self.reference.scores, self._scores), stability_index(self.reference.stds, self._stds)
        )
