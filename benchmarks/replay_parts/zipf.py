"""A shop whose queries and products are popular by Zipf's law, and the requests that its shoppers make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.traffic import RequestMaker


@dataclass(frozen=True)
class ZipfShop:
    """What is asked for.

    Attributes:
        products: of the catalogue.
        queries: different ones.
        alpha: the popularity of the n-th is proportional to n to the power of minus this.
        product_tokens: of each product.
        query_tokens: of each query.
    """

    products: int = 10_000
    queries: int = 2_000
    alpha: float = 1.0
    product_tokens: int = 40
    query_tokens: int = 6


class ZipfTraffic:
    """Requests of one shop, one after the other.

    Args:
        shop: sizes and popularity.
        maker: makes the texts.
        seed: decides who asks what, and which products answer it.
    """

    def __init__(self, shop: ZipfShop, maker: RequestMaker, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._titles = [maker.product().title for _ in range(shop.products)]
        self._queries = [maker.text(shop.query_tokens) for _ in range(shop.queries)]
        self._popularity = zipf(shop.queries, shop.alpha)
        self._ranker = Ranker(zipf(shop.products, shop.alpha), seed)

    def bodies(self, candidates: int) -> Iterator[bytes]:
        """Return the bodies of requests without end."""
        while True:
            for query in self._random.choice(len(self._queries), 1024, p=self._popularity).tolist():
                documents = [self._titles[product] for product in self._ranker.candidates(query, candidates)]
                yield json.dumps({"query": self._queries[query], "documents": documents, "top_n": 10}).encode()


class Ranker:
    """Which products a query finds: popular ones more often, and the same whenever it is asked.

    Args:
        popularity: of each product, summing to one.
        seed: with the query's number, decides.
    """

    def __init__(self, popularity: npt.NDArray[np.float64], seed: int) -> None:
        self._logarithms, self._seed = np.log(popularity), seed

    def candidates(self, query: int, number: int) -> list[int]:
        """Return the products of a query, best first: drawn one after the other by popularity, none twice."""
        noise = np.random.default_rng((self._seed, query)).gumbel(size=len(self._logarithms))
        best: list[int] = np.argsort(-(self._logarithms + noise))[:number].tolist()
        return best


def zipf(number: int, alpha: float) -> npt.NDArray[np.float64]:
    """Return the probability of each rank.

    Example:
        >>> zipf(2, 1.0).round(3).tolist()
        [0.667, 0.333]
    """
    weights: npt.NDArray[np.float64] = np.power(np.arange(1.0, number + 1), -alpha)
    weights /= weights.sum()
    return weights
