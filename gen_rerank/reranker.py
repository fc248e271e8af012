"""The five lines of Python: load a checkpoint, score products for a query, rank them.

A thin shell around a scorer: it accepts what people have in their hands (strings, dictionaries, the documents of
LangChain, LlamaIndex and Haystack, `Product`s) and returns results that carry the product, the score, its standard
deviation, its tier and the whole distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen_rerank.bins import Distribution, Floats
from gen_rerank.calibration.tiers import Tier, as_tier, best_in_tier, tiers
from gen_rerank.data.documents import as_products, as_query, product_of
from gen_rerank.data.records import Pair, Product
from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import Backend, DtypeChoice, open_scorer
from gen_rerank.scorers.scorer import Scorer

# A title, a mapping, or a document of a library's: a dataclass or a pydantic model that becomes a mapping.
ProductLike = Any


@dataclass(frozen=True)
class Result:
    """One product with its relevance.

    Attributes:
        product: what was scored.
        index: its place among the products that were given.
        score: the mean of the distribution, in [0, 1].
        std: the standard deviation, in units of the score.
        distribution: the probabilities of the eleven bins, `[11]` float32.
        tier: `exact`, `close` or `irrelevant`; None where the checkpoint has no thresholds.
    """

    product: Product
    index: int
    score: float
    std: float
    distribution: Floats
    tier: Tier | None = None


class Reranker:
    """Scores and ranks products for a query.

    Example:
        >>> from gen_rerank import Reranker
        >>> reranker = Reranker.load("runs/demo/model")  # doctest: +SKIP
        >>> for result in reranker.rank("oak desk", ["Oak writing desk", "Desk lamp"], top_k=1):  # doctest: +SKIP
        ...     print(result.score, result.std, result.product.title)
    """

    def __init__(self, scorer: Scorer, thresholds: Mapping[str, float] | None = None) -> None:
        """Wrap a scorer, and the thresholds of its tiers where it has them; most people call `load`."""
        self.scorer = scorer
        self.thresholds: Mapping[str, float] = thresholds or {}

    @classmethod
    def load(
        cls,
        path: str | Path,
        backend: Backend = "transformers",
        *,
        adapter: str | Path | None = None,
        dtype: DtypeChoice = "auto",
    ) -> Reranker:
        """Open a checkpoint folder or hub name.

        Args:
            path: the folder or the hub name.
            backend: what computes; `openvino` is the fast one for encoders on a CPU.
            adapter: the folder or hub name of a LoRA adapter that was trained on this checkpoint.
            dtype: of weights and activations; `auto`, as in the commands, is bfloat16 for a decoder where this machine
                has it, and float32 elsewhere.

        Raises:
            BadInput: the checkpoint or the adapter is refused, or there is no such backend or number type.
        """
        scorer = open_scorer(path, backend, adapter, dtype)
        return cls(scorer, scorer.checkpoint.card.calibration.thresholds)

    def score(
        self,
        query: str,
        products: Iterable[ProductLike],
        *,
        instruction: str | None = None,
        rank_fields: Sequence[str] | None = None,
    ) -> list[Result]:
        """Return one result a product, in the order given.

        Args:
            query: what the shopper typed.
            products: titles, dictionaries, documents of LangChain, LlamaIndex or Haystack, or `Product`s.
            instruction: replaces the checkpoint's own.
            rank_fields: the keys of each dictionary that are read, most important first; by default a product's own.

        Raises:
            BadInput: the query is no text or has none, the products are no list, or one of them is not usable.
        """
        known = as_products(products, rank_fields)
        pairs = [Pair(as_query(query), product) for product in known]
        scored = self.scorer.score(pairs, instruction=as_instruction(instruction))
        return results(known, scored, self.thresholds)

    def rank(
        self,
        query: str,
        products: Iterable[ProductLike],
        top_k: int | None = None,
        *,
        min_tier: Tier | None = None,
        instruction: str | None = None,
        rank_fields: Sequence[str] | None = None,
    ) -> list[Result]:
        """Return the best `top_k` results (all by default), best first; ties stay in the order given.

        Args:
            query: what the shopper typed.
            products: as `score` takes them.
            top_k: how many are returned at most; None for all.
            min_tier: leaves out what does not reach this tier. With `close`, an empty list says that no product is a
                good match.
            instruction: replaces the checkpoint's own.
            rank_fields: as `score` takes them.

        Raises:
            BadInput: as `score`; `top_k` is no number of results, `min_tier` no tier, or the checkpoint has no tiers.
        """
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int | np.integer)):
            raise BadInput(f"top_k is {shown(top_k)}; give a whole number, or None for all")
        if top_k is not None and top_k < 0:
            raise BadInput(f"top_k must not be negative, it is {top_k}")
        least = None if min_tier is None else as_tier(min_tier, self.thresholds)
        scored = self.score(query, products, instruction=instruction, rank_fields=rank_fields)
        order = best_in_tier([result.score for result in scored], self.thresholds, least)
        return [scored[place] for place in order[:top_k]]


def results(products: list[Product], scored: Distribution, thresholds: Mapping[str, float]) -> list[Result]:
    """Join products with their distributions and tiers, in order."""
    means, stds, names = scored.mean.tolist(), scored.std.tolist(), tiers(scored.mean, thresholds)
    rows = zip(products, means, stds, scored.probabilities, names, strict=True)
    return [Result(product, index, *said) for index, (product, *said) in enumerate(rows)]


def as_instruction(given: Any) -> str | None:
    """Return an instruction; None leaves it to the checkpoint.

    Raises:
        BadInput: it is no text.
    """
    if given is not None and not isinstance(given, str):
        raise BadInput(f"the instruction is {shown(given)}; give a text, or None for the checkpoint's own")
    return given


def as_product(given: ProductLike, index: int = 0) -> Product:
    """Return a `Product` from a title, a dictionary, a document of a library's, or a `Product`.

    Raises:
        BadInput: it is none of these, or has no text; the message names the place in the list.
    """
    return product_of(given, f"products.{index}", index)
