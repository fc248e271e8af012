"""Folds of whole queries: each query is held out once, and what is one query to people is one here.

What is fitted on the others, and measured on the one that is held out, is the caller's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gen_rerank.data.dataset import Dataset

Places = npt.NDArray[np.int64]


def deal(dataset: Dataset, folds: int, seed: int) -> Places:
    """Return the fold of each judgment, `[judgments]`: whole queries, dealt out in a random order.

    Queries with one text, but for case and spaces, are one query here. There are as many folds as asked for, or as many
    as there are queries.

    Args:
        dataset: something is judged in it.
        folds: how many, two at least.
        seed: of the order.

    Example:
        >>> sorted(set(deal(Dataset.load("shop"), folds=5, seed=0)))  # doctest: +SKIP
        [0, 1, 2, 3, 4]
    """
    text = {key: " ".join(query.text.casefold().split()) for key, query in dataset.queries.items()}
    order = list(dict.fromkeys(text[row.query_id] for row in dataset.judgments))
    random.Random(seed).shuffle(order)
    fold = {one: place % folds for place, one in enumerate(order)}
    return np.array([fold[text[row.query_id]] for row in dataset.judgments])


def numbered(names: Sequence[object]) -> Places:
    """Return the number of each name, `[n]`, in the order in which names first occur.

    Example:
        >>> numbered(["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def part(dataset: Dataset, chosen: npt.NDArray[np.bool_]) -> Dataset:
    """Return the data set with some of its judgments, `[judgments]`, and their queries."""
    judgments = tuple(row for row, is_chosen in zip(dataset.judgments, chosen, strict=True) if is_chosen)
    judged = {row.query_id for row in judgments}
    queries = {key: query for key, query in dataset.queries.items() if key in judged}
    return Dataset(dataset.products, queries, judgments, dataset.bad_rows)
