"""What visits score: requests of a query with its candidates, the same for every system, and their files.

No pair is in two requests. The products of a request are new to the visit while the catalog lasts, but for those that
are judged for its query. How many of the requests a visit scores, and how they are timed, is
`quant.measured_process`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput
from quant.comparison import FrozenModel

WARM_UP, LATENCY, THROUGHPUT, SAMPLE = "warm_up.jsonl", "latency.jsonl", "throughput.jsonl", "sample.jsonl"

# The most requests of a workload: 16,384 pairs for the throughput, and for the latency enough for a 95th percentile.
_MOST_LATENCY = 100
_MOST_THROUGHPUT = 256
_MOST_SAMPLE = 256
# One to warm up, and one for each of the two measurements.
_LEAST_REQUESTS = 3
_LEAST_CANDIDATES = 2


class CandidatesRequest(FrozenModel):
    """One query with its candidates: what a client sends."""

    query: str
    products: tuple[Product, ...]

    @property
    def pairs(self) -> list[Pair]:
        """As scorers read them."""
        return [Pair(self.query, product) for product in self.products]


class RequestCount(FrozenModel):
    """How many queries are scored: one by one for the latency, and many together for the throughput."""

    latency: PositiveInt
    throughput: PositiveInt


@dataclass(frozen=True)
class VisitWorkload:
    """The requests of a visit, rendered by each checkpoint's own prompt.

    Attributes:
        warm_up: one request.
        latency: requests that are timed one by one.
        throughput: requests that are timed together.
        sample: places in the data set's judgments: the pairs on which engines are compared.
        sample_pairs: those pairs.
    """

    warm_up: CandidatesRequest
    latency: tuple[CandidatesRequest, ...]
    throughput: tuple[CandidatesRequest, ...]
    sample: tuple[int, ...]
    sample_pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, dataset: Dataset, *, candidates: int = 64, seed: int = 0) -> VisitWorkload:
        """Make one from a split: to each query the products that are judged for it, then others at random.

        Args:
            dataset: the split. A query comes again, with other products, where there are few.
            candidates: the products of a request; fewer where the catalog has fewer.
            seed: of the order of the queries, of the products and of the sample.

        Raises:
            BadInput: too few queries and products for three different requests.

        Example:
            >>> VisitWorkload.of(Dataset.load("shop").of("test")).candidates  # doctest: +SKIP
            64
        """
        size = min(candidates, len(dataset.products))
        requests = tuple(islice(_requests(dataset, size, seed), 1 + _MOST_LATENCY + _MOST_THROUGHPUT))
        if size < _LEAST_CANDIDATES or len(requests) < _LEAST_REQUESTS:
            raise BadInput(
                f"the split has {len(dataset.queries)} queries and the catalog {len(dataset.products)} products: too "
                f"few to measure speed on queries with {candidates} candidates that are all different; bring more, or "
                "leave the cost out"
            )
        latency = min(_MOST_LATENCY, (len(requests) - 1) // 2)
        places = np.random.default_rng(seed).permutation(len(dataset.judgments))[:_MOST_SAMPLE].tolist()
        return cls(
            warm_up=requests[0],
            latency=requests[1 : 1 + latency],
            throughput=requests[1 + latency :],
            sample=tuple(places),
            sample_pairs=tuple(dataset.pair(dataset.judgments[place]) for place in places),
        )

    @property
    def candidates(self) -> int:
        """The products of each request."""
        return len(self.warm_up.products)

    @property
    def available(self) -> RequestCount:
        """The number of requests."""
        return RequestCount(latency=len(self.latency), throughput=len(self.throughput))

    def save(self, folder: Path) -> None:
        """Write the files that a visit reads."""
        _write(folder / WARM_UP, [self.warm_up])
        _write(folder / LATENCY, self.latency)
        _write(folder / THROUGHPUT, self.throughput)
        sample = (CandidatesRequest(query=pair.query, products=(pair.product,)) for pair in self.sample_pairs)
        _write(folder / SAMPLE, sample)


def read_pairs(file: Path, count: NonNegativeInt) -> Iterator[list[Pair]]:
    """Go through the first requests of a file, as pairs; no more than one is held."""
    with file.open("rb") as lines:
        for line in islice(lines, count):
            yield CandidatesRequest.model_validate_json(line).pairs


def _requests(dataset: Dataset, candidates: int, seed: int) -> Iterator[CandidatesRequest]:
    """Go round the queries, for as long as one of them has candidates that it was not given yet."""
    random = np.random.default_rng(seed)
    ids = list(dataset.products)
    others = cycle([ids[i] for i in random.permutation(len(ids))])
    judged = dataset.by_query()
    # A text that two queries have is one query here.
    queries = list({query.text: query for query in dataset.queries.values()}.values())
    queries = [queries[i] for i in random.permutation(len(queries))]
    given: dict[str, set[str]] = defaultdict(set)
    while queries := [query for query in queries if len(ids) - len(given[query.query_id]) >= candidates]:
        for query in queries:
            seen = given[query.query_id]
            first = [row.product_id for row in judged.get(query.query_id, ()) if row.product_id not in seen]
            chosen = dict.fromkeys(first[:candidates])
            while len(chosen) < candidates:
                product_id = next(others)
                if product_id not in seen:
                    chosen[product_id] = None
            seen.update(chosen)
            products = tuple(dataset.products[product_id] for product_id in chosen)
            yield CandidatesRequest(query=query.text, products=products)


def _write(file: Path, requests: Iterable[CandidatesRequest]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for request in requests:
            lines.write(request.model_dump_json(exclude_defaults=True) + "\n")
