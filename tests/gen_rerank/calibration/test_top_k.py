"""Who is among the best k: by hand, against a simulation, and whatever the distributions are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput
from gen_rerank.calibration.rank_confidence import rank_confidence
from gen_rerank.calibration.top_k import in_top_k

SURE = np.eye(11)


def drawn(products: int, sharpness: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(11, sharpness), products)


def simulated(rows: np.ndarray, k: int, draws: int, seed: int = 0) -> np.ndarray:
    """How often each product is among the best k, when values are drawn and equals put in order by chance."""
    rng = np.random.default_rng(seed)
    values = (rng.random((draws, len(rows), 1)) > rows.cumsum(axis=1)).sum(axis=2)
    ranks = (-(values + rng.random(values.shape))).argsort(axis=1).argsort(axis=1)
    return (ranks < k).mean(axis=0)


@pytest.mark.parametrize(
    ("rows", "k", "expected"),
    [
        (SURE[[9, 5, 1]], 1, [1, 0, 0]),
        (SURE[[9, 5, 1]], 2, [1, 1, 0]),
        (SURE[[5, 5, 5, 5]], 1, [0.25] * 4),
        (SURE[[5, 5, 5, 5]], 3, [0.75] * 4),
        (SURE[[9, 5, 5, 1]], 2, [1, 0.5, 0.5, 0]),
        # One is 0.9 or 0.1, each in half of the cases; the other is 0.5.
        ([(SURE[9] + SURE[1]) / 2, SURE[5]], 1, [0.5, 0.5]),
        # It is better in one quarter, equal in another (then it wins half of the time), worse in a half.
        ([SURE[9] / 4 + SURE[5] / 4 + SURE[1] / 2, SURE[5]], 1, [0.375, 0.625]),
        (SURE[[9, 5]], 2, [1, 1]),
        (SURE[[9, 5]], 7, [1, 1]),
    ],
)
def test_by_hand(rows, k: int, expected: list[float]) -> None:
    assert in_top_k(rows, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("products", "k", "sharpness"), [(5, 2, 1.0), (12, 5, 0.2), (24, 5, 0.05), (60, 10, 0.05), (200, 5, 0.3)]
)
def test_a_simulation_says_the_same(products: int, k: int, sharpness: float) -> None:
    rows = drawn(products, sharpness)
    draws = 400_000 // products
    seen = simulated(rows, k, draws)
    assert np.abs(in_top_k(rows, k) - seen).max() < 4.5 * np.sqrt(0.25 / draws)


def test_hundreds_that_are_surely_alike_share_the_places_that_are_left() -> None:
    rows = np.concatenate([SURE[[9, 8]], np.repeat(SURE[[0]], 254, axis=0)])
    found = in_top_k(rows, 5)
    assert found[:2] == pytest.approx([1, 1], abs=1e-9)
    assert found[2:] == pytest.approx(3 / 254, abs=0.01)


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 12), st.floats(0.01, 3.0), st.integers(0, 2**31))
def test_together_they_fill_k_places(products: int, k: int, sharpness: float, seed: int) -> None:
    found = in_top_k(drawn(products, sharpness, seed), k)
    assert found.sum() == pytest.approx(min(k, products), abs=1e-6)
    assert ((found >= 0) & (found <= 1)).all()


@settings(max_examples=15)
@given(st.integers(2, 12), st.integers(0, 2**31))
def test_the_order_of_the_products_does_not_count(products: int, seed: int) -> None:
    rows = drawn(products, 0.3, seed)
    order = np.random.default_rng(seed).permutation(products)
    assert in_top_k(rows[order], 2) == pytest.approx(in_top_k(rows, 2)[order], abs=1e-9)


def test_the_first_place_is_what_rank_confidence_says_where_nobody_can_be_equal() -> None:
    rows = drawn(4, 1.0) * np.array([[1, 0] * 5 + [0], [0, 1] * 5 + [0], [0] * 11, [0] * 11])
    rows = rows[:2] / rows[:2].sum(axis=1, keepdims=True)
    sure = rank_confidence(rows)
    assert sure is not None
    assert in_top_k(rows, 1)[0] == pytest.approx(sure.first_is_best)


def test_nothing_is_nothing_and_what_is_wrong_is_said() -> None:
    assert in_top_k([], 3).shape == (0,)
    with pytest.raises(BadInput, match=r"in_top_k needs distributions of shape \[n, 11\], not \[1, 2\]"):
        in_top_k([[0.5, 0.5]], 1)
    with pytest.raises(BadInput, match="k is 0; give a whole number from 1 on"):
        in_top_k(SURE[[1, 2]], 0)
