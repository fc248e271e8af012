"""Five simulated annotators: they agree where relevance is clear and disagree near the transitions between grades.

The noise is planted, with known parameters, so that a fit to the labels can be checked against them. This module
knows nothing of products or queries.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from gen_rerank.data.sigma import TRANSITIONS, sigma


@dataclass(frozen=True)
class PlantedNoise:
    """How far the annotators' opinions lie from a pair's relevance: σ(y), the same at each transition.

    Attributes:
        sigma_min: far from every transition, in units of relevance.
        sigma_max: at a transition.
        width: how far a transition reaches; δ in σ(y).
        slip: the probability that an annotator errs altogether and gives any grade.
        transitions: between grades, where people disagree most.
        annotators: how many grade each pair.

    Example:
        >>> PlantedNoise().sigma(0.5)
        0.14
    """

    sigma_min: float = 0.05
    sigma_max: float = 0.14
    width: float = 0.07
    slip: float = 0.02
    transitions: tuple[float, ...] = TRANSITIONS
    annotators: int = 5

    def sigma(self, relevance: float) -> float:
        """Return the standard deviation of one annotator's opinion of a pair with this relevance."""
        distance = min(abs(relevance - transition) for transition in self.transitions)
        width: float = sigma(distance, self.sigma_min, self.sigma_max, self.width, math.exp)
        return width


PLANTED = PlantedNoise()


def annotate(relevance: float, rng: random.Random, noise: PlantedNoise = PLANTED) -> tuple[float, ...]:
    """Return the annotators' grades of a pair, each one of 0.0, 0.1 … 1.0."""
    return tuple(_grade(relevance, rng, noise) for _ in range(noise.annotators))


def _grade(relevance: float, rng: random.Random, noise: PlantedNoise) -> float:
    if rng.random() < noise.slip:
        return rng.randint(0, 10) / 10
    tenths = round(10 * rng.gauss(relevance, noise.sigma(relevance)))
    return min(max(tenths, 0), 10) / 10
