"""Ways to spend a decoder on a query's products: all, none, a fixed depth, or what is undecided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen_rerank.bins import best_first
from gen_rerank.evaluation.intervals import Interval, bootstrap, paired
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings

ENCODER, DECODER, CASCADE, DEPTH = "encoder alone", "decoder alone", "cascade", "fixed depth"


@dataclass(frozen=True, eq=False)
class Spent:
    """One way, measured on judged queries.

    Attributes:
        kind: one of the four.
        setting: the depth, or the bounds; empty where there is none.
        ndcg: `[queries]`; NaN where it is not defined.
        pairs: `[queries]`, how many the decoder read.
    """

    kind: str
    setting: str
    ndcg: Doubles
    pairs: Doubles

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{self.kind} {self.setting}".strip()

    @property
    def cost(self) -> float:
        """How many pairs the decoder read a query, on average."""
        return float(self.pairs.mean())

    def mean(self) -> Interval:
        """Return the mean nDCG with its interval."""
        return bootstrap(self.ndcg)

    def over(self, other: Spent) -> Interval:
        """Return the paired difference to another way."""
        return paired(self.ndcg, other.ndcg)


def fixed_depth(readings: TwoReadings, depth: int, k: int) -> Spent:
    """Return the cascade that everybody has: the decoder reads the encoder's first products and orders them."""
    scores = np.zeros(len(readings.relevance))
    pairs = np.minimum(readings.products, depth).astype(np.float64)
    for at in readings.slices:
        first = best_first(readings.encoder.mean[at])[:depth]
        mixed = readings.encoder.mean[at].astype(np.float64)
        mixed[first] = 2.0 + readings.decoder.mean[at][first]  # before all others
        scores[at] = mixed
    return Spent(DEPTH, str(depth), readings.ndcg(scores, k), pairs)


def all_ways(readings: TwoReadings, losses: CascadeLosses, depths: list[int], k: int) -> list[Spent]:
    """Return every way: encoder and decoder alone, fixed depths, and cascades between each of the bounds."""
    none = np.zeros(len(readings.products))
    decoder = readings.ndcg(readings.decoder.mean, k)
    cascades = [
        Spent(CASCADE, f"{bounds.low:g}, {bounds.high:g}", decoder - lost, share * readings.products)
        for bounds, lost, share in zip(losses.bounds, losses.lost, losses.share, strict=True)
    ]
    return [
        Spent(ENCODER, "", readings.ndcg(readings.encoder.mean, k), none),
        *(fixed_depth(readings, depth, k) for depth in depths),
        *cascades,
        Spent(DECODER, "", decoder, readings.products.astype(np.float64)),
    ]


def at_the_cost_of(depth: Spent, ways: list[Spent]) -> Spent | None:
    """Return the cascade that reads most, of those that read no more than a fixed depth; None where all read more."""
    affordable = [one for one in ways if one.kind == CASCADE and one.cost <= depth.cost + 1e-9]
    return max(affordable, key=lambda one: one.cost, default=None)
