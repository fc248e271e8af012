"""What every candidate is held against: the reference's answers, and all that a candidate's answers are beside them.

Quality with paired differences, drift, slices and the worst pairs. Files and cost are measured elsewhere (`identity`,
`cost`), and what is too much is `gates`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.intervals import paired
from gen_rerank.evaluation.rankable import deciding_queries
from quant.answers import CandidateAnswers
from quant.comparison import Candidate, Drift, Quality, SliceChange, System
from quant.drift import drift, worst_pairs
from quant.systems import ComparedSystem

MEASURES = (HEADLINE, "nDCG@10", RPS, MSE, ECE)


@dataclass(frozen=True, eq=False)
class Baseline:
    """The reference's answers on a split.

    Attributes:
        system: the reference.
        dataset: the split.
        expected: its answers, one a judgment.
        again: its answers in another order and in other batches.
        thresholds: the scores at which the tiers `exact` and `close` begin.
    """

    system: ComparedSystem
    dataset: Dataset
    expected: Distribution
    again: Distribution
    thresholds: Mapping[str, float]

    @cached_property
    def evaluation(self) -> Evaluation:
        """The reference's quality, query by query."""
        return evaluate(self.system.name, self.dataset, self.expected)

    @cached_property
    def floor(self) -> Drift:
        """The drift of the reference from itself."""
        return self._drift(self.again)

    @property
    def slice_floor(self) -> dict[str, float]:
        """The mean |Δscore| of that by tag."""
        return self._mean_changes(self.again)

    def described(self) -> System:
        """Return the reference as the result has it, without its cost."""
        return self.system.described(quality_of(self.evaluation))

    def candidate(self, system: ComparedSystem, answers: CandidateAnswers) -> Candidate:
        """Return all that is measured of a candidate, but for its files and its cost."""
        if answers.distribution is None:
            return Candidate(**dict(system.described(None)), refused=answers.refused)
        other = evaluate(system.name, self.dataset, answers.distribution)
        delta = {name: change for name, change in difference(other, self.evaluation).items() if name in MEASURES}
        return Candidate(
            **dict(system.described(quality_of(other))),
            delta=delta,
            queries={name: self._deciding(other, name) for name in delta},
            drift=self._drift(answers.distribution),
            slices=self._slices(answers.distribution, other),
            worst=worst_pairs(self.dataset, self.expected, answers.distribution),
        )

    def _drift(self, other: Distribution) -> Drift:
        rows = self.dataset.judgments
        queries, products = [row.query_id for row in rows], [row.product_id for row in rows]
        return drift(queries, self.expected, other, self.thresholds, product_ids=products)

    def _defined(self, other: Evaluation, measure: str) -> npt.NDArray[np.bool_]:
        """Return for which queries the difference of a measure is defined, `[queries]`."""
        return ~np.isnan(other.per_query[measure] - self.evaluation.per_query[measure])

    def _deciding(self, other: Evaluation, measure: str) -> int:
        """Return in how many queries the two can differ by a measure."""
        defined = int(self._defined(other, measure).sum())
        return min(defined, deciding_queries(self.dataset).get(measure, defined))

    def _slices(self, distribution: Distribution, other: Evaluation) -> dict[str, SliceChange]:
        """Return the change of each tag for whose queries the headline is defined, in alphabetical order."""
        before, after = self.evaluation.per_query[HEADLINE], other.per_query[HEADLINE]
        defined = self._defined(other, HEADLINE)
        found = {}
        for tag, mean_change in self._mean_changes(distribution).items():
            queries = defined & [tag in self.dataset.queries[query_id].tags for query_id in self.evaluation.query_ids]
            if queries.any():
                change = paired(after[queries], before[queries])
                found[tag] = SliceChange(queries=int(queries.sum()), ndcg5=change, mean_change=mean_change)
        return found

    def _mean_changes(self, other: Distribution) -> dict[str, float]:
        """Return the mean |Δscore| of the pairs of each tag, in alphabetical order."""
        change = np.abs(other.mean.astype(np.float64) - self.expected.mean)
        tags_of = [self.dataset.queries[row.query_id].tags for row in self.dataset.judgments]
        return {
            tag: float(change[[tag in tags for tags in tags_of]].mean())
            for tag in sorted({tag for tags in tags_of for tag in tags})
        }


def quality_of(evaluation: Evaluation) -> Quality:
    """Return the measures of an evaluation that a comparison shows, those that are defined."""
    known = {**evaluation.ranking, **(evaluation.calibration or {})}
    return Quality(measures={name: known[name] for name in MEASURES if name in known})
