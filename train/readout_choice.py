"""Which of two readouts is published, the one that came or the trained one: cross-validation over training queries.

What a fit is, `readout_fits` knows; here are the folds, the rule and the sentence that says what it found.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gen_rerank.evaluation.evaluation import MSE, RPS
from gen_rerank.evaluation.intervals import LEAST_QUERIES, Interval

FOLDS = 5
# Of MSE. The backbone has learned the training queries, so that what they say of its readout is optimistic: on the
# sample a fortieth was gained on them, and nothing on queries about new brands (benchmarks/phase2.py). Nor is so little
# worth scores that move, and thresholds that must be set again.
LEAST_GAIN = 0.05


def folds(query_ids: Iterable[str], seed: int) -> list[set[str]]:
    """Return five parts of the queries, whole queries in each; with fewer than five queries some parts are empty.

    Example:
        >>> sorted(map(len, folds(["a", "b", "c", "d", "e", "f"], seed=0)))
        [1, 1, 1, 1, 2]
    """
    shuffled = sorted(set(query_ids))
    random.Random(seed).shuffle(shuffled)
    return [set(shuffled[i::FOLDS]) for i in range(FOLDS)]


@dataclass(frozen=True)
class ReadoutChoice:
    """What cross-validation says of the trained readout beside the one that came.

    Attributes:
        queries: of the training split; each was scored by rows that never learned from it.
        came: MSE of the readout that came, the mean over the queries.
        gains: trained − came with 95% intervals paired over the queries, of MSE and RPS; empty where there are too few
            queries to tell.
    """

    queries: int
    came: float
    gains: Mapping[str, Interval]

    @property
    def trained(self) -> bool:
        """Whether the trained readout is published: beyond chance, MSE is better by a twentieth and RPS is not worse.

        Example:
            >>> better, unclear = Interval(-0.02, -0.03, -0.01), Interval(0.001, -0.001, 0.003)
            >>> ReadoutChoice(40, 0.1, {"MSE": better, "RPS": unclear}).trained
            True
            >>> ReadoutChoice(40, 0.1, {"MSE": unclear, "RPS": better}).trained
            False
        """
        return bool(self.gains) and self.gains[MSE].high < -LEAST_GAIN * self.came and self.gains[RPS].low <= 0

    @property
    def sentence(self) -> str:
        """What was published, and why."""
        if not self.gains:
            why = f"{LEAST_QUERIES} training queries are the fewest that can show a gain, and there are {self.queries}"
            return f"The readout stays as it came, and the scores with it: {why}."
        shown = ", ".join(f"{name} {self.gains[name].shown('+.5f')}" for name in (MSE, RPS))
        found = (
            f"cross-validated over {self.queries:,} training queries, trained − came: {shown}; MSE came as "
            f"{self.came:.5f}; lower is better"
        )
        if self.trained:
            return f"The trained readout is published ({found})."
        return f"The readout stays as it came, and the scores with it: the trained one shows too little gain ({found})."

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads."""
        return {
            "published": "trained" if self.trained else "as it came",
            "queries": self.queries,
            "came": self.came,
            "gains": {name: gain.to_json() for name, gain in self.gains.items()},
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ReadoutChoice:
        """Return the choice of what `to_json` gave."""
        gains: Mapping[str, Sequence[float]] = row["gains"]
        return cls(
            row["queries"],
            row["came"],
            {name: Interval.from_json(gain, row["queries"]) for name, gain in gains.items()},
        )
