"""Made-up shops whose scores are known: logits that say the truth, too sharply, or shifted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.bins import BIN_VALUES

Made = tuple[Dataset, np.ndarray]


@pytest.fixture(scope="session")
def made() -> Callable[..., Made]:
    """Returns a data set of so many queries, and logits that are right but for a temperature and a shift of the mean.

    Relevance is drawn from each pair's own distribution, so that `sharpness=1` and `shift=0` are calibrated.
    """
    return _made


def _made(
    queries: int, products: int = 8, *, sharpness: float = 1.0, shift: float = 0.0, seed: int = 0, split="validation"
) -> Made:
    rng = np.random.default_rng(seed)
    centres = rng.random((queries * products, 1))
    logits = -((BIN_VALUES - centres) ** 2) / (2 * 0.1**2)
    rows = np.exp(logits)
    rows /= rows.sum(axis=1, keepdims=True)
    drawn = (rows.cumsum(axis=1) > rng.random((len(rows), 1))).argmax(axis=1)
    shop = Dataset(
        {f"p{i}": Product(product_id=f"p{i}", title=f"product {i}") for i in range(products)},
        {
            f"q{i}": Query(query_id=f"q{i}", text=f"query {i}", split=split, tags=(("odd",) if i % 2 else ("even",)))
            for i in range(queries)
        },
        tuple(
            Judgment(query_id=f"q{k // products}", product_id=f"p{k % products}", relevance=round(place / 10, 1))
            for k, place in enumerate(drawn.tolist())
        ),
    )
    shown = -((BIN_VALUES - np.clip(centres + shift, 0, 1)) ** 2) / (2 * 0.1**2)
    return shop, sharpness * shown
