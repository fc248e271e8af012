"""A search behind which a cascade ranks: the same answer, and for each product who read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, cast

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair
from gen_rerank.reporting.numbers import counted
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.search.cascade.models import DECODER, Cascade, CascadeScores, ReadBy
from gen_rerank.search.cascade.reading import ReadingBudget
from gen_rerank.search.search import Search, SearchAnswer

_ENDS = {
    "settled": "and the first places are settled",
    "pairs": "as many as it may; more is undecided",
    "milliseconds": "then the time was over; more is undecided",
    "late": "and more is undecided",
    "down": "and more is undecided",
}


@dataclass(frozen=True)
class CascadeAnswer(SearchAnswer):
    """The products for a query, best first, and what a cascade read for it.

    Attributes:
        read_by: by product id, who read it last.
        scores: how the reading ended; None where nothing was found.
        promised: what is promised of such answers, in words; empty where nothing is.
    """

    read_by: dict[str, ReadBy] = field(default_factory=dict)
    scores: CascadeScores | None = None
    promised: str = ""

    @property
    def pairs(self) -> int:
        """How many products the decoder read."""
        return list(self.read_by.values()).count(DECODER)

    def sentence(self) -> str:
        """Return what was read, in words."""
        said = f"the decoder read {self.pairs:,} of {counted(len(self.read_by), 'product')}"
        if self.scores is None:
            return said
        fault = f": {self.scores.fault}" if self.scores.fault else ""
        return f"{said}, {_ENDS[self.scores.reading.ended]}{fault}"

    def to_json(self) -> dict[str, Any]:
        """Return the answer, with `read_by` in each result, and `cascade`."""
        said = super().to_json()
        results = [{**row, "read_by": self.read_by.get(row["product_id"])} for row in said["results"]]
        cascade = {
            "ended": "settled" if self.scores is None else self.scores.reading.ended,
            "degraded": self.scores is not None and self.scores.degraded,
            "read_by_decoder": self.pairs,
            "promised": self.promised or None,
        }
        return {**said, "results": results, "cascade": cascade}


class _OneSearch:
    """The scorer of one search, which remembers who read what."""

    def __init__(self, cascade: Cascade, budget: ReadingBudget | None) -> None:
        self._cascade, self._budget = cascade, budget
        self.scores: CascadeScores | None = None
        self.read_by: dict[str, ReadBy] = {}

    @property
    def checkpoint(self) -> Checkpoint:
        return self._cascade.checkpoint

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        self.scores = self._cascade.score(pairs, self._budget)
        self.read_by = {pair.product.product_id: by for pair, by in zip(pairs, self.scores.read_by, strict=True)}
        return self.scores.reading.distribution


@dataclass
class CascadeSearch:
    """A search whose candidates an encoder reads, and of them a decoder those that are undecided.

    Attributes:
        search: without a model.
        cascade: both models, opened.

    Example:
        >>> cascade = Cascade.open(CascadeChoices("runs/encoder", "runs/model"))  # doctest: +SKIP
        >>> with CascadeSearch(Search.open("runs/index"), cascade) as search:  # doctest: +SKIP
        ...     found = search.find("oak desk", budget=ReadingBudget(milliseconds=200))
        ...     print(found.sentence(), [(hit.product.title, hit.score) for hit in found.results])
    """

    search: Search
    cascade: Cascade

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close both models."""
        self.cascade.close()

    def find(self, query: str, k: int = 10, *, budget: ReadingBudget | None = None, **asked: Any) -> CascadeAnswer:
        """Return the best `k` products for a query.

        Args:
            query: what the shopper typed.
            k: how many are returned at most; the places that the cascade settles are its card's.
            budget: of this query; None is the card's.
            asked: as `Search.find` takes it.

        Raises:
            BadInput: as `Search.find`.
        """
        scorer = _OneSearch(self.cascade, budget)
        answer = replace(self.search, scorer=cast(TokenScorer, scorer)).find(query, k, **asked)
        loss, as_calibrated = self.cascade.card.loss, scorer.scores is None or scorer.scores.as_calibrated
        promised = loss.promise if loss is not None and loss.kept and as_calibrated else ""
        said = {one.name: getattr(answer, one.name) for one in fields(answer)}
        found = CascadeAnswer(**said, read_by=scorer.read_by, scores=scorer.scores, promised=promised)
        return replace(found, remarks=(*found.remarks, found.sentence()))
