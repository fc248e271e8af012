"""One search: candidates from a retriever, scored and ordered by a reranker, and the answer with its times.

What retrieves and what scores, the caller says; each step takes candidates and gives candidates, with a receipt for
each one that it takes away. A server, which scores in its own way, calls `gather` and `answer` instead of `find`. What
the rules do is `rules`', an answer's words on a screen are `answers`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gen_rerank.bins import Distribution
from gen_rerank.calibration.rank_confidence import RankConfidence, rank_confidence
from gen_rerank.calibration.tiers import GOOD, Tier, as_tier, has_tiers
from gen_rerank.data.documents import as_products, as_query
from gen_rerank.data.records import Pair
from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.search.candidates import Given, ProductCandidate, Receipt, Retriever, Stockroom
from gen_rerank.search.hits import Hit, hits_by_score
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.rules.asked import Asked, Customer, Filters
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.hard import hard_rules, hard_rules_or_fewer
from gen_rerank.search.rules.outcome import Outcome
from gen_rerank.search.rules.pinned import pinned_candidates, pinned_ids
from gen_rerank.search.rules.soft import soft_rules

CANDIDATES = 256
# Where rules leave too few of the candidates, this many times as many are asked for, up to a number.
_DEEPER, _DEEPEST = 4, 4096
DUPLICATE, DELETED = "duplicate", "deleted"
# A title, a mapping, a document of a library's, or a `Product`.
ProductLike = Any


@dataclass(frozen=True)
class SearchAnswer:
    """The products for a query, best first.

    Attributes:
        query: as it was given.
        results: the best `k` of them.
        receipts: for the products that a step took away or moved.
        seconds: what each stage took.
        candidates: how many products were retrieved.
        no_good_match: whether none of them reaches the tier `close`; None where no model ranked them, or the model has
            no thresholds.
        confidence: how sure the first place is; None where that was not asked, or nothing is shown.
        below: how many of them were left out because they do not reach the tier that was asked for.
        remarks: what the rules say of the search as a whole, in sentences.
    """

    query: str
    results: tuple[Hit, ...]
    receipts: tuple[Receipt, ...]
    seconds: dict[str, float]
    candidates: int
    no_good_match: bool | None = None
    confidence: RankConfidence | None = None
    below: int = 0
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "query": self.query,
            "no_good_match": self.no_good_match,
            **({} if self.confidence is None else self.confidence.to_json()),
            "results": [hit.to_json() for hit in self.results],
            "receipts": [receipt.to_json() for receipt in self.receipts],
            "remarks": list(self.remarks),
            "seconds": {stage: round(taken, 6) for stage, taken in self.seconds.items()},
            "candidates": self.candidates,
            "below_tier": self.below,
        }


def _nothing_gone(_: Iterable[str]) -> set[str]:
    return set()


@dataclass(frozen=True)
class Gathered:
    """The candidates of one search, which a model is to score.

    Attributes:
        asked: what was asked.
        found: those that are left, in the order in which they were found.
        receipts: for those that are not.
        seconds: what each stage took; the later ones are added.
        candidates: how many were retrieved.
        remarks: of the rules.
        brought: whether the caller had retrieved them.
    """

    asked: Asked
    found: tuple[ProductCandidate, ...]
    receipts: tuple[Receipt, ...]
    seconds: dict[str, float]
    candidates: int
    remarks: tuple[str, ...] = ()
    brought: bool = False

    @property
    def pairs(self) -> list[Pair]:
        """What is scored."""
        return [Pair(self.asked.query, one.product) for one in self.found]


@dataclass
class Search:
    """A retriever, and where there is one a reranker behind it.

    Attributes:
        retriever: finds the candidates.
        scorer: orders them; None leaves them as they were found.
        candidates: how many are retrieved and scored.
        gone: says of a few product ids which ones are not for sale any more; asked at the end of a search.
        rules: of the shop.
        stockroom: knows pinned products that were not found, and vectors for diversity; None where nothing does.

    Example:
        >>> search = Search.open("runs/index", model="runs/demo/model", rules="rules.yaml")  # doctest: +SKIP
        >>> for hit in search.find("oak desk", k=10).results:  # doctest: +SKIP
        ...     print(hit.score, hit.tier, hit.product.title)
    """

    retriever: Retriever
    scorer: TokenScorer | None = None
    candidates: int = CANDIDATES
    gone: Callable[[Iterable[str]], set[str]] = field(default=_nothing_gone)
    rules: Rules = field(default_factory=Rules)
    stockroom: Stockroom | None = None

    @classmethod
    def open(
        cls,
        index: str | Path,
        model: str | Path | None = None,
        *,
        adapter: str | Path | None = None,
        backend: str = "transformers",
        dtype: str = "auto",
        candidates: int = CANDIDATES,
        rules: str | Path | None = None,
    ) -> Search:
        """Open an index, and a model that ranks what it finds.

        Args:
            index: the folder that `gen-rerank index` wrote.
            model: a checkpoint folder or hub name; None searches without a model.
            adapter: a LoRA adapter of the model.
            backend: `transformers` or `vllm`.
            dtype: `auto`, `float32` or `bfloat16`.
            candidates: how many products are retrieved and scored.
            rules: a file of the shop's rules (docs/search.md).

        Raises:
            BadInput: there is no such index, the rules are refused, or the checkpoint or the adapter is.
        """
        read = Rules() if rules is None else Rules.read(rules)
        opened = ProductIndex.open(index)
        scorer = None if model is None else prepare_scorer(model, backend, adapter, dtype).open()
        return cls(opened, scorer, candidates, opened.gone, read, opened)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what the scorer's backend started."""
        if self.scorer is not None:
            self.scorer.close()

    def find(
        self,
        query: str,
        k: int = 10,
        *,
        among: Iterable[ProductLike] | None = None,
        min_tier: Tier | None = None,
        confidence: bool = False,
        customer: Customer = Customer(),  # noqa: B008 - frozen
        filters: Filters = Filters(),  # noqa: B008 - frozen
    ) -> SearchAnswer:
        """Return the best `k` products for a query.

        Args:
            query: what the shopper typed.
            k: how many are returned at most.
            among: the candidates, where the caller has retrieved them, as `Reranker.rank` takes products; all of them
                are scored, and neither the retriever nor `gone` is asked.
            min_tier: leaves out what does not reach this tier, as `k` leaves out what comes after the best: without
                receipts.
            confidence: whether it is asked how sure the first place is.
            customer: who asks, for the rules.
            filters: what the shopper has ticked.

        Raises:
            BadInput: the query is no text or has none, `k` is no number above 0, a product is not usable, the
                retriever gives no list of candidates, `min_tier` is no tier, or there is no model with tiers for it or
                for `confidence` no model.
        """
        query = as_query(query)
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise BadInput(f"k is {shown(k)}; give a whole number from 1 on")
        if self.scorer is None and (confidence or min_tier is not None):
            raise BadInput("tiers, and how sure the first place is, are a model's to say; open the search with one")
        least = None if min_tier is None else as_tier(min_tier, self._thresholds)
        gathered = self.gather(Asked(query, int(k), customer, filters), among)
        scored = None
        with timed(gathered.seconds, "rerank"):
            if self.scorer is not None and gathered.found:
                scored = self.scorer.score(gathered.pairs)
        return self.answer(gathered, scored, self._thresholds, min_tier=least, confidence=confidence)

    def gather(self, asked: Asked, among: Iterable[ProductLike] | None = None) -> Gathered:
        """Return the candidates that are to be scored: retrieved, each once, behind the hard rules.

        Args:
            asked: with a query that has text.
            among: the candidates, where the caller has retrieved them.

        Raises:
            BadInput: a product is not usable, or the retriever gives no list of candidates.
        """
        seconds: dict[str, float] = {}
        with timed(seconds, "retrieve"):
            if among is None:
                limit, found = self._deep_enough(asked)
            else:
                brought = as_products(among, name="among")
                limit, found = len(brought), Given(brought).candidates(asked.query, len(brought))
            found, twice = _each_once(found)
        retrieved = len(found)
        if not self._has_rules(asked):
            return Gathered(asked, tuple(found), tuple(twice), seconds, retrieved, (), among is not None)
        with timed(seconds, "hard rules"):
            found += pinned_candidates(self.rules, asked.query, found, self.stockroom) if among is None else []
            done = hard_rules_or_fewer(self.rules, asked, found)
        kept = done.kept
        if among is None and limit > self.candidates:  # a rule made it look deeper; no more are scored for that
            pinned, first = pinned_ids(self.rules, asked.query), self.candidates
            kept = (*kept[:first], *(one for one in kept[first:] if one.product.product_id in pinned))
        return Gathered(asked, kept, (*twice, *done.receipts), seconds, retrieved, done.remarks, among is not None)

    def answer(
        self,
        gathered: Gathered,
        scored: Distribution | None,
        thresholds: Mapping[str, float],
        *,
        min_tier: Tier | None = None,
        confidence: bool = False,
    ) -> SearchAnswer:
        """Return the answer of a search whose candidates were scored.

        Args:
            gathered: by `gather`.
            scored: one distribution for each of its pairs; None where no model is asked, or there are none.
            thresholds: where the model's tiers begin; empty where it has none.
            min_tier: leaves out what does not reach this tier.
            confidence: whether it is asked how sure the first place is.
        """
        asked, seconds = gathered.asked, dict(gathered.seconds)
        hits = _as_found(gathered.found) if scored is None else hits_by_score(gathered.found, scored, thresholds)
        ranked: Outcome[Hit] = Outcome(tuple(hits))
        if self._has_rules(asked):
            with timed(seconds, "soft rules"):
                ranked = soft_rules(self.rules, asked, hits, self._vectors)
        shown_hits = [hit for hit in ranked.kept if min_tier is None or hit.reaches(min_tier)]
        with timed(seconds, "check"):
            gone_of = _nothing_gone if gathered.brought else self.gone
            results, deleted = _still_there(shown_hits, asked.k, gone_of)
        gone = {receipt.product_id for receipt in deleted}
        good = any(hit.reaches(GOOD) for hit in hits if hit.product.product_id not in gone)
        return SearchAnswer(
            asked.query,
            results,
            (*gathered.receipts, *ranked.receipts, *deleted),
            seconds,
            gathered.candidates,
            not good if has_tiers(thresholds) else None,
            rank_confidence([hit.distribution or () for hit in results]) if confidence else None,
            len(ranked.kept) - len(shown_hits),
            (*gathered.remarks, *ranked.remarks),
        )

    def with_rules(self, rules: Rules) -> Search:
        """Return the same search under other rules."""
        return replace(self, rules=rules)

    def _deep_enough(self, asked: Asked) -> tuple[int, list[ProductCandidate]]:
        """Return how many candidates were asked for, and those that were found.

        Where the hard rules would leave fewer than are wanted, more are asked for: all shoes of the first 256 may be
        sold out, and the next one not.
        """
        limit = self.candidates
        while True:
            found = _checked(self.retriever.candidates(asked.query, limit))
            if not self._has_rules(asked) or len(found) < limit or limit * _DEEPER > _DEEPEST:
                return limit, found
            if len(hard_rules(self.rules, asked, _each_once(found)[0]).kept) >= min(asked.k, self.candidates):
                return limit, found
            limit *= _DEEPER

    def _has_rules(self, asked: Asked) -> bool:
        return bool(self.rules.used) or asked.filters != Filters()

    def _vectors(self, product_ids: Sequence[str]) -> npt.NDArray[np.float32] | None:
        return None if self.stockroom is None else self.stockroom.vectors_of(product_ids)

    @property
    def _thresholds(self) -> Mapping[str, float]:
        return {} if self.scorer is None else self.scorer.checkpoint.card.calibration.thresholds


def _checked(found: Any) -> list[ProductCandidate]:
    """Return what a retriever gave, which may be anybody's.

    Raises:
        BadInput: it is no list of candidates.
    """
    if not isinstance(found, Sequence) or not all(isinstance(one, ProductCandidate) for one in found):
        raise BadInput(f"the retriever gave {shown(found)}; it has to give a list of ProductCandidate, empty for none")
    return list(found)


def _each_once(found: Sequence[ProductCandidate]) -> tuple[list[ProductCandidate], list[Receipt]]:
    """Return the first candidate of each id, and receipts for the others."""
    kept: dict[str, ProductCandidate] = {}
    receipts = []
    for place, one in enumerate(found, start=1):
        if kept.setdefault(one.product.product_id, one) is not one:
            why = "a candidate before it has the same id, and only the first is ranked"
            receipts.append(Receipt.of(one.product, DUPLICATE, why, place))
    return list(kept.values()), receipts


def _still_there(
    ranked: Sequence[Hit], k: int, gone_of: Callable[[Iterable[str]], set[str]]
) -> tuple[tuple[Hit, ...], tuple[Receipt, ...]]:
    """Return the best `k` that nobody deleted while they were scored."""
    results: list[Hit] = []
    receipts: list[Receipt] = []
    places = enumerate(ranked, start=1)
    while len(results) < k and (part := list(islice(places, k - len(results)))):
        gone = gone_of([hit.product.product_id for _, hit in part])
        for place, hit in part:
            if hit.product.product_id in gone:
                why = "the product was deleted from the index during the search"
                receipts.append(Receipt.of(hit.product, DELETED, why, place))
            else:
                results.append(hit)
    return tuple(results), tuple(receipts)


def _as_found(found: Sequence[ProductCandidate]) -> list[Hit]:
    return [Hit(one.product, dict(one.ranks)) for one in found]


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Write down what a stage takes.

    Args:
        seconds: by stage.
        stage: its name.
    """
    began = perf_counter()
    yield
    seconds[stage] = perf_counter() - began
