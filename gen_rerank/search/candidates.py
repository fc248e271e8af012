"""What travels through a search: candidates from a retriever, and receipts for those that a step took away.

A retriever is anything with `candidates`: the index here, a list that the caller brings, or a few lines around
OpenSearch, Vespa or a database (docs/search.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gen_rerank.data.records import Product


@dataclass(frozen=True)
class ProductCandidate:
    """A product that may answer a query.

    Attributes:
        product: all that is known of it.
        ranks: its place in each list that found it, from 1.
    """

    product: Product
    ranks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """Why a product is not in an answer, or not where its score would have put it.

    Attributes:
        product_id: of the product.
        title: of the product.
        rule: what removed or moved it.
        why: in words.
        before: its place when the rule came to it, from 1; before the rerank that is the place in which it was found.
        after: its place behind the rule; None where it was removed.
    """

    product_id: str
    title: str
    rule: str
    why: str
    before: int
    after: int | None = None

    @classmethod
    def of(cls, product: Product, rule: str, why: str, before: int, after: int | None = None) -> Receipt:
        """Return a receipt for a product."""
        return cls(product.product_id, " ".join(product.title.split()), rule, why, before, after)

    def to_json(self) -> dict[str, Any]:
        """Return it as an answer has it."""
        return asdict(self)


class Retriever(Protocol):
    """Finds candidates; implemented by `ProductIndex` and `Given`, and by whoever has a search engine already."""

    def candidates(self, query: str, limit: int) -> list[ProductCandidate]:
        """Return at most `limit` products for a query, best first; none where nothing fits."""


class Stockroom(Protocol):
    """What rules ask of an index beside candidates; implemented by `ProductIndex`."""

    def products(self, product_ids: Sequence[str]) -> list[Product]:
        """Return those of the products that there are, in this order."""

    def vectors_of(self, product_ids: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """Return a vector for each product, `[n, dimensions]`; None where one of them has none."""


class Given:
    """The candidates of a caller, who has retrieved them elsewhere.

    Example:
        >>> Given([Product(product_id="p1", title="Oak desk")]).candidates("desk", 10)[0].product.title
        'Oak desk'
    """

    def __init__(self, products: Iterable[Product]) -> None:
        """Keep the products, in their order."""
        self._products = tuple(products)

    def candidates(self, query: str, limit: int) -> list[ProductCandidate]:
        """Return the first `limit` products, whatever the query is."""
        return [
            ProductCandidate(product, {"given": rank}) for rank, product in enumerate(self._products[:limit], start=1)
        ]
