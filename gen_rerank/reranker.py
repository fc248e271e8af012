"""The five lines of Python: load a checkpoint, score products for a query, rank them.

A thin shell around a scorer: it accepts what people have in their hands (strings, dictionaries, `Product`s) and returns
results that carry the product, the score, its standard deviation and the whole distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gen_rerank.bins import Distribution, Floats, best_first
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput
from gen_rerank.scorers.opening import Backend, open_scorer
from gen_rerank.scorers.scorer import Scorer

ProductLike = Product | str | Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One product with its relevance.

    Attributes:
        product: what was scored.
        index: its place among the products that were given.
        score: the mean of the distribution, in [0, 1].
        std: the standard deviation, in units of the score.
        distribution: the probabilities of the eleven bins, `[11]` float32.
    """

    product: Product
    index: int
    score: float
    std: float
    distribution: Floats


class Reranker:
    """Scores and ranks products for a query.

    Example:
        >>> from gen_rerank import Reranker
        >>> reranker = Reranker.load("runs/demo/model")  # doctest: +SKIP
        >>> for result in reranker.rank("oak desk", ["Oak writing desk", "Desk lamp"], top_k=1):  # doctest: +SKIP
        ...     print(result.score, result.std, result.product.title)
    """

    def __init__(self, scorer: Scorer) -> None:
        """Wrap a scorer; most people call `load`."""
        self.scorer = scorer

    @classmethod
    def load(
        cls, path: str | Path, backend: Backend = "transformers", *, adapter: str | Path | None = None
    ) -> Reranker:
        """Open a checkpoint folder or hub name.

        Args:
            path: the folder or the hub name.
            backend: what computes.
            adapter: the folder or hub name of a LoRA adapter that was trained on this checkpoint.

        Raises:
            BadInput: the checkpoint or the adapter is refused, or there is no such backend.
        """
        return cls(open_scorer(path, backend, adapter))

    def score(self, query: str, products: Sequence[ProductLike], *, instruction: str | None = None) -> list[Result]:
        """Return one result a product, in the order given.

        Raises:
            BadInput: the query has no text, or a product is not usable.
        """
        known = [as_product(product, index) for index, product in enumerate(products)]
        scored = self.scorer.score([Pair(query, product) for product in known], instruction=instruction)
        return results(known, scored)

    def rank(
        self, query: str, products: Sequence[ProductLike], top_k: int | None = None, *, instruction: str | None = None
    ) -> list[Result]:
        """Return the best `top_k` results (all by default), best first; ties stay in the order given.

        Raises:
            BadInput: as `score`, or `top_k` is negative.
        """
        if top_k is not None and top_k < 0:
            raise BadInput(f"top_k must not be negative, it is {top_k}")
        scored = self.score(query, products, instruction=instruction)
        return [scored[place] for place in best_first([result.score for result in scored])[:top_k]]


def results(products: Sequence[Product], scored: Distribution) -> list[Result]:
    """Join products with their distributions, in order."""
    rows = zip(products, scored.mean.tolist(), scored.std.tolist(), scored.probabilities, strict=True)
    return [Result(product, index, score, std, row) for index, (product, score, std, row) in enumerate(rows)]


def as_product(given: ProductLike, index: int = 0) -> Product:
    """Return a `Product` from a title, a dictionary with a `title`, or a `Product`.

    Raises:
        BadInput: it is none of these; the message names the place in the list.
    """
    if isinstance(given, Product):
        return given
    if not isinstance(given, str | Mapping):
        raise BadInput(f"product {index}: a title, a dictionary or a Product is needed, not {type(given).__name__}")
    fields = {"title": given} if isinstance(given, str) else dict(given)
    try:
        return Product.model_validate({"product_id": str(index), **fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"product {index}: {where}: {first['msg']}") from error
