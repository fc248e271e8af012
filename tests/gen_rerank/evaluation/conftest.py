"""A split by hand, a judged one, and what a fair model could say of it."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank import Dataset, Distribution, Judgment, Product, Query


@pytest.fixture(scope="module")
def by_hand() -> Dataset:
    """Two queries with two products each; one is tagged."""
    products = {key: Product(product_id=key, title=title) for key, title in (("a", "oak desk"), ("b", "red lamp"))}
    queries = {
        "q": Query(query_id="q", text="desk", split="test"),
        "r": Query(query_id="r", text="lamp", split="test", tags=("typo", "gift")),
    }
    rows = [("q", "a", 1.0, (1.0, 0.8)), ("q", "b", 0.0, ()), ("r", "a", 0.5, ()), ("r", "b", 1.0, ())]
    return Dataset(
        products, queries, tuple(Judgment(query_id=q, product_id=p, relevance=x, labels=y) for q, p, x, y in rows)
    )


@pytest.fixture(scope="module")
def judged(tiny_shop) -> Dataset:
    return tiny_shop.of("test")


@pytest.fixture(scope="module")
def noisy(judged) -> Distribution:
    """What a fair model could say: the truth with noise."""
    rng = np.random.default_rng(0)
    gold = np.array([row.relevance for row in judged.judgments])
    centre = np.clip(gold + rng.normal(0, 0.1, len(gold)), 0, 1)[:, None]
    return Distribution.from_logits(-(((np.linspace(0, 1, 11)[None] - centre) / 0.15) ** 2))
