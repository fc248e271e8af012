"""One search: candidates from a retriever, scored and ordered by a reranker, and the answer with its times.

What retrieves and what scores, the caller says; each step takes candidates and gives candidates, with a receipt for
each one that it takes away. An answer's words on a screen are `answers`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np

from gen_rerank.bins import Distribution, best_first
from gen_rerank.calibration.rank_confidence import RankConfidence, rank_confidence
from gen_rerank.calibration.tiers import GOOD, TIERS, Tier, as_tier, has_tiers, tiers
from gen_rerank.data.documents import as_products, as_query
from gen_rerank.data.records import Pair, Product
from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.search.candidates import Given, ProductCandidate, Receipt, Retriever
from gen_rerank.search.index import ProductIndex

CANDIDATES = 256
# A title, a mapping, a document of a library's, or a `Product`.
ProductLike = Any


@dataclass(frozen=True, eq=False)
class Hit:
    """One product of an answer.

    Attributes:
        product: what was found.
        ranks: its place in each list that found it, from 1.
        score: the mean of its distribution, in [0, 1]; None where no model ranked it.
        std: the standard deviation, in units of the score; None where no model ranked it.
        tier: None where no model ranked it, or the model has no thresholds.
        distribution: the probabilities of the eleven bins; None where no model ranked it.
    """

    product: Product
    ranks: dict[str, int]
    score: float | None = None
    std: float | None = None
    tier: Tier | None = None
    distribution: tuple[float, ...] | None = None

    def reaches(self, least: Tier) -> bool:
        """Return whether it is in a tier or a better one."""
        return self.tier is not None and TIERS.index(self.tier) <= TIERS.index(least)

    def to_json(self) -> dict[str, Any]:
        """Return it as an answer has it, numbers with six decimals."""
        return {
            "product_id": self.product.product_id,
            "title": self.product.title,
            "score": None if self.score is None else round(self.score, 6),
            "std": None if self.std is None else round(self.std, 6),
            "tier": self.tier,
            "probabilities": None if self.distribution is None else [round(share, 6) for share in self.distribution],
            "retrieved": dict(self.ranks),
        }


@dataclass(frozen=True)
class SearchAnswer:
    """The products for a query, best first.

    Attributes:
        query: as it was given.
        results: the best `k` of them.
        receipts: for the products that a step took away.
        seconds: what each stage took.
        candidates: how many products were retrieved.
        no_good_match: whether none of them reaches the tier `close`; None where no model ranked them, or the model has
            no thresholds.
        confidence: how sure the first place is; None where that was not asked, or nothing is shown.
        below: how many of them were left out because they do not reach the tier that was asked for.
    """

    query: str
    results: tuple[Hit, ...]
    receipts: tuple[Receipt, ...]
    seconds: dict[str, float]
    candidates: int
    no_good_match: bool | None = None
    confidence: RankConfidence | None = None
    below: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "query": self.query,
            "no_good_match": self.no_good_match,
            **({} if self.confidence is None else self.confidence.to_json()),
            "results": [hit.to_json() for hit in self.results],
            "receipts": [receipt.to_json() for receipt in self.receipts],
            "seconds": {stage: round(taken, 6) for stage, taken in self.seconds.items()},
            "candidates": self.candidates,
            "below_tier": self.below,
        }


def _nothing_gone(_: Iterable[str]) -> set[str]:
    return set()


@dataclass
class Search:
    """A retriever, and where there is one a reranker behind it.

    Attributes:
        retriever: finds the candidates.
        scorer: orders them; None leaves them as they were found.
        candidates: how many are retrieved and scored.
        gone: says of a few product ids which ones are not for sale any more; asked at the end of a search.

    Example:
        >>> search = Search.open("runs/index", model="runs/demo/model")  # doctest: +SKIP
        >>> for hit in search.find("oak desk", k=10).results:  # doctest: +SKIP
        ...     print(hit.score, hit.tier, hit.product.title)
    """

    retriever: Retriever
    scorer: TokenScorer | None = None
    candidates: int = CANDIDATES
    gone: Callable[[Iterable[str]], set[str]] = field(default=_nothing_gone)

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
    ) -> Search:
        """Open an index, and a model that ranks what it finds.

        Args:
            index: the folder that `gen-rerank index` wrote.
            model: a checkpoint folder or hub name; None searches without a model.
            adapter: a LoRA adapter of the model.
            backend: `transformers` or `vllm`.
            dtype: `auto`, `float32` or `bfloat16`.
            candidates: how many products are retrieved and scored.

        Raises:
            BadInput: there is no such index, or the checkpoint or the adapter is refused.
        """
        opened = ProductIndex.open(index)
        scorer = None if model is None else prepare_scorer(model, backend, adapter, dtype).open()
        return cls(opened, scorer, candidates, opened.gone)

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
        seconds: dict[str, float] = {}
        with _timed(seconds, "retrieve"):
            if among is None:
                found = _checked(self.retriever.candidates(query, self.candidates))
            else:
                brought = as_products(among, name="among")
                found = Given(brought).candidates(query, len(brought))
            found, twice = _each_once(found)
        with _timed(seconds, "rerank"):
            ranked = _as_found(found) if self.scorer is None else _reranked(query, found, self.scorer)
        shown_hits = ranked if least is None else [hit for hit in ranked if hit.reaches(least)]
        with _timed(seconds, "check"):
            results, receipts = _still_there(shown_hits, k, self.gone if among is None else _nothing_gone)
        gone = {receipt.product_id for receipt in receipts}
        good = any(hit.reaches(GOOD) for hit in ranked if hit.product.product_id not in gone)
        sure = rank_confidence([hit.distribution or () for hit in results]) if confidence else None
        nothing = not good if has_tiers(self._thresholds) else None
        left_out = len(ranked) - len(shown_hits)
        return SearchAnswer(query, results, (*twice, *receipts), seconds, len(found), nothing, sure, left_out)

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
    for one in found:
        if kept.setdefault(one.product.product_id, one) is not one:
            why = "a candidate before it has the same id, and only the first is ranked"
            receipts.append(Receipt(one.product.product_id, "duplicate", why))
    return list(kept.values()), receipts


def _still_there(
    ranked: Sequence[Hit], k: int, gone_of: Callable[[Iterable[str]], set[str]]
) -> tuple[tuple[Hit, ...], tuple[Receipt, ...]]:
    """Return the best `k` that nobody deleted while they were scored."""
    results: list[Hit] = []
    receipts: list[Receipt] = []
    rest = list(ranked)
    while rest and len(results) < k:
        part, rest = rest[: k - len(results)], rest[k - len(results) :]
        gone = gone_of([hit.product.product_id for hit in part])
        for hit in part:
            if hit.product.product_id in gone:
                why = "the product was deleted from the index during the search"
                receipts.append(Receipt(hit.product.product_id, "deleted", why))
            else:
                results.append(hit)
    return tuple(results), tuple(receipts)


def _as_found(found: Sequence[ProductCandidate]) -> list[Hit]:
    return [Hit(one.product, dict(one.ranks)) for one in found]


def _reranked(query: str, found: Sequence[ProductCandidate], scorer: TokenScorer) -> list[Hit]:
    """Return the candidates by their scores, best first; of equals, the one that was found first."""
    if not found:
        return []
    scored: Distribution = scorer.score([Pair(query, one.product) for one in found])
    order = best_first(scored.mean)
    names = tiers(scored.mean, scorer.checkpoint.card.calibration.thresholds)
    means, stds = scored.mean.tolist(), scored.std.tolist()
    return [
        Hit(
            found[i].product,
            dict(found[i].ranks),
            means[i],
            stds[i],
            names[i],
            tuple(scored.probabilities[i].tolist()),
        )
        for i in order
    ]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = perf_counter()
    yield
    seconds[stage] = perf_counter() - began
