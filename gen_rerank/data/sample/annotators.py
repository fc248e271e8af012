"""Five simulated annotators: they agree where relevance is clear and disagree near the transitions between grades.

The noise is planted, with known parameters, so that a fit to the labels can be checked against them. This module
knows nothing of products or queries.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """The planted noise: sigma(y) = sigma_min + (sigma_max - sigma_min) * exp(-d^2 / (2 width^2)).

    `d` is the distance from y to the nearest of `transitions`; with probability `slip` an annotator errs altogether
    and gives any grade.
    """

    sigma_min: float = 0.05
    sigma_max: float = 0.14
    width: float = 0.07
    slip: float = 0.02
    transitions: tuple[float, ...] = (0.2, 0.5, 0.8)
    annotators: int = 5

    def sigma(self, relevance: float) -> float:
        """Return the standard deviation of one annotator's opinion of a pair with this relevance."""
        distance = min(abs(relevance - transition) for transition in self.transitions)
        return self.sigma_min + (self.sigma_max - self.sigma_min) * math.exp(-(distance**2) / (2 * self.width**2))


PLANTED = Noise()


def annotate(relevance: float, rng: random.Random, noise: Noise = PLANTED) -> tuple[float, ...]:
    """Return the annotators' grades of a pair, each one of 0.0, 0.1 … 1.0."""
    return tuple(_grade(relevance, rng, noise) for _ in range(noise.annotators))


def _grade(relevance: float, rng: random.Random, noise: Noise) -> float:
    if rng.random() < noise.slip:
        return rng.randint(0, 10) / 10
    tenths = round(10 * rng.gauss(relevance, noise.sigma(relevance)))
    return min(max(tenths, 0), 10) / 10
