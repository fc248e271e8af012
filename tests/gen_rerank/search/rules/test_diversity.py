"""Unlike products first, on vectors that one can write down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gen_rerank import Product
from gen_rerank.search.rules.diversity import diverse_order, field_vectors
from gen_rerank.search.rules.file import Diversity

LIKE = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
KEYS = np.array([0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_what_is_unlike_comes_second(method: Any) -> None:
    assert diverse_order(Diversity(method=method, strength=0.6), KEYS, LIKE)[:2] == [0, 3]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_without_strength_nothing_moves(method: Any) -> None:
    assert diverse_order(Diversity(method=method, strength=0.0), KEYS, LIKE) == [0, 1, 2, 3]


def test_only_the_first_places_are_filled_and_only_from_the_best() -> None:
    assert diverse_order(Diversity(strength=0.6, first=2), KEYS, LIKE) == [0, 3, 1, 2]
    assert diverse_order(Diversity(strength=0.6, among=3), KEYS, LIKE) == [0, 1, 2, 3]


def test_nothing_and_one() -> None:
    assert diverse_order(Diversity(), np.zeros(0), np.zeros((0, 2), dtype=np.float32)) == []
    assert diverse_order(Diversity(), np.ones(1), np.zeros((1, 1), dtype=np.float32)) == [0]


def test_fields_make_products_alike() -> None:
    products = [
        Product(product_id="a", title="x", brand="A", attributes={"colour": "red"}),
        Product(product_id="b", title="y", brand="A", attributes={"colour": "RED"}),
        Product(product_id="c", title="z", brand="C"),
    ]
    alike = field_vectors(products) @ field_vectors(products).T
    assert alike.tolist() == [[2, 2, 0], [2, 2, 0], [0, 0, 1]]
    assert field_vectors(products, ["colour"]).tolist() == [[1], [1], [0]]
