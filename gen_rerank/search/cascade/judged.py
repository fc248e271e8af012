"""Judged queries as two models read them, and what a cascade of the two would have read and lost there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution, best_first
from gen_rerank.calibration.promises import Promise, TierLosses
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import Places, numbered
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.metrics import Doubles, shuffled_ranks
from gen_rerank.evaluation.retrieval_measures import ndcg_of_found
from gen_rerank.search.cascade.reading import BATCH, NO_LIMIT, Bounds, ReadingBudget, read_undecided

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TwoReadings:
    """Judged products, query after query, as an encoder and a decoder read them.

    Within a query they lie in an order by a seeded hash, which is that of candidates whose scores are equal.

    Attributes:
        relevance: `[n]` in [0, 1].
        queries: `[n]`, the number of each product's query, rising from 0 on without a gap.
        encoder: n distributions.
        decoder: n distributions.
    """

    relevance: Doubles
    queries: Places
    encoder: Distribution
    decoder: Distribution

    @classmethod
    def of(cls, judged: Dataset, encoder: Distribution, decoder: Distribution) -> TwoReadings:
        """Return the readings of a data set's judgments.

        Args:
            judged: one split.
            encoder: one distribution a judgment, in order.
            decoder: the same.

        Raises:
            BadInput: there are no judgments, or not as many distributions.
        """
        rows = judged.judgments
        if not rows:
            raise BadInput("there are no judgments to calibrate a cascade on")
        for found in (encoder, decoder):
            if len(found) != len(rows):
                raise BadInput(f"{len(rows)} judgments need as many distributions, not {len(found)}")
        query_ids, product_ids = [row.query_id for row in rows], [row.product_id for row in rows]
        queries = numbered(query_ids)
        order = np.lexsort((shuffled_ranks(query_ids, product_ids, np.zeros(len(rows))), queries))
        relevance = np.array([row.relevance for row in rows])[order]
        return cls(relevance, queries[order], encoder[order], decoder[order])

    @cached_property
    def slices(self) -> list[slice]:
        """Where the products of each query lie."""
        ends = np.cumsum(np.bincount(self.queries)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    @cached_property
    def products(self) -> Places:
        """How many products each query has, `[queries]`."""
        return np.bincount(self.queries)

    def ndcg(self, scores: npt.ArrayLike, k: int) -> Doubles:
        """Return nDCG@k of an order by scores `[n]`, `[queries]`; NaN where no product has a relevance above 0."""
        given = np.asarray(scores)
        gold = [(self.relevance[at], best_first(given[at])) for at in self.slices]
        return np.array([ndcg_of_found(found[order], found, k) for found, order in gold])

    def mixed(self, by_decoder: Marks) -> Doubles:
        """Return the scores of answers in which the decoder has read some products, `[n]`."""
        return np.where(by_decoder, self.decoder.mean, self.encoder.mean).astype(np.float64)

    def read(self, k: int, bounds: Bounds, *, budget: ReadingBudget = NO_LIMIT, batch: int = BATCH) -> Marks:
        """Return which products the decoder would have read, `[n]`."""
        return np.concatenate([self._read_one(at, k, bounds, budget, batch) for at in self.slices])

    def _read_one(self, at: slice, k: int, bounds: Bounds, budget: ReadingBudget, batch: int) -> Marks:
        decoder = self.decoder.probabilities[at]
        found = read_undecided(
            self.encoder[at], lambda places: Distribution(decoder[list(places)]), k, bounds, budget=budget, batch=batch
        )
        return found.by_decoder

    def tier_loss(self, by_decoder: Marks, promise: Promise, threshold: float) -> Doubles:
        """Return what each query loses, `[queries]`, of which a tier promises something; NaN for one without a say.

        Args:
            by_decoder: `[n]`, which products the decoder has read.
            promise: names tier and loss.
            threshold: the score at which the tier begins, whoever has read a product.
        """
        found = TierLosses.of(promise.tier, self.mixed(by_decoder), self.relevance, self.queries, [threshold])
        return (found.wrong if promise.loss == "wrong" else found.missed)[0]

    def drawn(self, chosen: npt.NDArray[np.integer]) -> TwoReadings:
        """Return some of the queries, by their numbers; one that is drawn twice is two queries."""
        rows = np.concatenate([np.arange(self.slices[one].start, self.slices[one].stop) for one in chosen.tolist()])
        queries = np.repeat(np.arange(len(chosen)), self.products[chosen])
        return TwoReadings(self.relevance[rows], queries, self.encoder[rows], self.decoder[rows])


@dataclass(frozen=True, eq=False)
class CascadeLosses:
    """What cascades between several bounds read and lose.

    Attributes:
        bounds: the safest first.
        by_decoder: `[bounds, n]`, what the decoder read.
        lost: `[bounds, queries]`, nDCG@k of the decoder alone less that of the cascade; NaN where it is not defined.
        share: `[bounds, queries]`, the share of the products that the decoder read.
    """

    bounds: tuple[Bounds, ...]
    by_decoder: Marks
    lost: Doubles
    share: Doubles

    @classmethod
    def of(
        cls,
        readings: TwoReadings,
        k: int,
        bounds: Sequence[Bounds],
        *,
        budget: ReadingBudget = NO_LIMIT,
        batch: int = BATCH,
        advance: Callable[[], object] = lambda: None,
    ) -> CascadeLosses:
        """Return the losses between each of several bounds.

        Args:
            readings: of judged queries.
            k: how many places are to be settled.
            bounds: the safest first.
            budget: the most that is read for a query.
            batch: how many are read at a time.
            advance: is called after each of the bounds.
        """
        whole = readings.ndcg(readings.decoder.mean, k)
        marks = []
        for one in bounds:
            marks.append(readings.read(k, one, budget=budget, batch=batch))
            advance()
        lost = [whole - readings.ndcg(readings.mixed(row), k) for row in marks]
        share = [np.bincount(readings.queries, weights=row) / readings.products for row in marks]
        return cls(tuple(bounds), np.array(marks), np.array(lost), np.array(share))
