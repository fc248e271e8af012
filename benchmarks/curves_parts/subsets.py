"""Subsets of a shop's judged queries that grow: each holds the one before it, and the test queries stay as they are."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput


@dataclass(frozen=True)
class Subset:
    """So many judgments to learn from, with the test queries.

    Attributes:
        queries: to learn from.
        judgments: of those queries.
        data: all products, those queries in the split `train`, and the test queries.
    """

    queries: int
    judgments: int
    data: Dataset


def nested_subsets(dataset: Dataset, sizes: list[int], seed: int) -> list[Subset]:
    """Return a subset for each size, of whole queries in one random order: the first that reaches the size.

    The queries are those of the splits train and validation. A size that is beyond all of them gives all of them; of
    equal subsets there is one.

    Args:
        dataset: it has judged test queries.
        sizes: judgments.
        seed: of the order.

    Raises:
        BadInput: no query but those of the test split has a judgment, or none of these has.

    Example:
        >>> [subset.judgments for subset in nested_subsets(shop, [100, 300], seed=0)]  # doctest: +SKIP
        [104, 304]
    """
    groups = dataset.by_query()
    test = dataset.of("test")
    order = [key for key in groups if dataset.queries[key].split != "test"]
    if not order or not test.judgments:
        raise BadInput(f"a curve needs queries to learn from and test queries; {dataset.judged_splits()}")
    random.Random(seed).shuffle(order)
    found: dict[int, Subset] = {}
    for size in sorted(sizes):
        chosen: list[str] = []
        judged = 0
        for key in order:
            if judged >= size:
                break
            chosen.append(key)
            judged += len(groups[key])
        learned = {key: dataset.queries[key].model_copy(update={"split": "train"}) for key in chosen}
        queries = {**learned, **test.queries}
        rows = tuple(row for row in dataset.judgments if row.query_id in queries)
        found[judged] = Subset(len(chosen), judged, Dataset(dataset.products, queries, rows))
    return list(found.values())
