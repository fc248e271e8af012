"""What a calibration is fitted on: the logits of judged pairs, with their labels, their queries and their folds.

Logits that exist already are enough; no model is opened here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.calibration.logits import calibrated
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import Places, deal, numbered
from gen_rerank.errors import BadInput
from gen_rerank.evaluation import metrics
from gen_rerank.evaluation.metrics import Doubles

FOLDS = 5


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Judged pairs as arrays.

    Attributes:
        logits: `[n, k]`, on which no calibration has acted.
        values: `[k]`, what each column is worth.
        relevance: `[n]` in [0, 1].
        labels: n times the annotators' labels, or the relevance alone.
        queries: `[n]`, the number of each pair's query, from 0 on without a gap, in the order of their first pairs.
        folds: `[n]`; queries with one text lie in one fold.
    """

    logits: Doubles
    values: tuple[float, ...]
    relevance: Doubles
    labels: tuple[tuple[float, ...], ...]
    queries: Places
    folds: Places

    @classmethod
    def of(cls, judged: Dataset, logits: npt.ArrayLike, values: Sequence[float], *, seed: int = 0) -> JudgedPairs:
        """Return the pairs of a data set.

        Args:
            judged: most often `Dataset.load(…).of("validation")`.
            logits: `[n, k]`, one row a judgment, in order.
            values: of the card's readout.
            seed: of the order in which queries are dealt into folds.

        Raises:
            BadInput: there are no judgments, not one row a judgment, another number of columns, or a logit that is
                not finite.
        """
        rows = judged.judgments
        given = np.asarray(logits, dtype=np.float64)
        if not rows:
            raise BadInput("there are no judgments to calibrate on")
        if len(given) != len(rows):
            raise BadInput(f"{len(rows)} judgments need as many rows of logits, not {len(given)}")
        Distribution.from_logits(given, values=values)
        return cls(
            given,
            tuple(values),
            np.array([row.relevance for row in rows]),
            tuple(row.labels or (row.relevance,) for row in rows),
            numbered([row.query_id for row in rows]),
            deal(judged, FOLDS, seed),
        )

    def chosen(self, which: npt.NDArray[np.bool_]) -> JudgedPairs:
        """Return some of the pairs, `[n]`."""
        labels = tuple(row for row, is_chosen in zip(self.labels, which, strict=True) if is_chosen)
        queries = numbered(self.queries[which].tolist())
        return JudgedPairs(self.logits[which], self.values, self.relevance[which], labels, queries, self.folds[which])

    @cached_property
    def count(self) -> int:
        """How many queries there are."""
        return int(self.queries.max()) + 1

    @cached_property
    def weights(self) -> Doubles:
        """What each pair weighs, `[n]`, so that every query weighs the same."""
        return 1.0 / np.bincount(self.queries)[self.queries]

    @cached_property
    def targets(self) -> Doubles:
        """What the distributions should say, `[n, k]`: each label on its column, or split between its neighbours."""
        worth = np.asarray(self.values)
        order = np.argsort(worth)
        steps = worth[order]
        counts = [len(row) for row in self.labels]
        pair = np.repeat(np.arange(len(counts)), counts)
        labels = np.array([label for row in self.labels for label in row])
        below = np.clip(np.searchsorted(steps, labels + 1e-9, side="right") - 1, 0, len(steps) - 2)
        share = np.clip((labels - steps[below]) / (steps[below + 1] - steps[below]), 0.0, 1.0)
        found = np.zeros_like(self.logits)
        np.add.at(found, (pair, order[below]), 1.0 - share)
        np.add.at(found, (pair, order[below + 1]), share)
        return found / np.asarray(counts, dtype=np.float64)[:, None]

    def read(self, calibration: Calibration) -> Distribution:
        """Return what a calibration makes of the logits."""
        return calibrated(self.logits, self.values, calibration)

    def rps(self, distribution: Distribution) -> Doubles:
        """Return the ranked probability score of each query, `[queries]`: the mean of its pairs."""
        return self.query_means(metrics.ranked_probability_score(distribution, self.labels))

    def query_means(self, values: npt.ArrayLike) -> Doubles:
        """Return the mean of `[n]` values over each query's pairs, `[queries]`."""
        found: Doubles = np.bincount(self.queries, weights=values) / np.bincount(self.queries)
        return found
