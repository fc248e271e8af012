"""How sure the first place is: numbers that one can check by hand, and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput, rank_confidence


def row(**shares: float) -> np.ndarray:
    """A distribution: `row(b9=0.5, b10=0.5)`."""
    found = np.zeros(11)
    for name, share in shares.items():
        found[int(name[1:])] = share
    return found


def test_by_hand() -> None:
    # The first is 0.9 or 0.5, the other 0.7: it is the best half of the times, and they are a near tie.
    found = rank_confidence([row(b9=0.5, b5=0.5), row(b7=1.0)])
    assert found is not None
    assert (found.first_is_best, found.near_tie) == (0.5, True)
    # Against two others that are 0.7 or 0.0 by a coin each: 0.5 + 0.5 · 0.25.
    found = rank_confidence([row(b9=0.5, b5=0.5), row(b7=0.5, b0=0.5), row(b7=0.5, b0=0.5)])
    assert found is not None
    assert (found.first_is_best, found.near_tie) == (0.625, False)


def test_what_is_surely_alike_is_a_near_tie_and_nothing_is_better() -> None:
    found = rank_confidence([row(b10=1.0)] * 3)
    assert found is not None
    assert (found.first_is_best, found.near_tie) == (1.0, True)
    assert found.to_json() == {"rank_confidence": 1.0, "near_tie": True}
    assert found.sentence.endswith("100%; a near tie: another is better almost as often")


@pytest.mark.parametrize(("share", "near"), [(0.54, True), (0.56, False)])
def test_a_near_tie_is_a_lead_of_a_tenth(share: float, near: bool) -> None:
    found = rank_confidence([row(b8=share, b6=1 - share), row(b7=1.0)])
    assert found is not None
    assert found.near_tie == near


def test_one_product_has_no_rival_and_none_has_no_first() -> None:
    alone = rank_confidence([row(b1=1.0)])
    assert alone is not None
    assert (alone.first_is_best, alone.near_tie) == (1.0, False)
    assert rank_confidence([]) is None
    assert rank_confidence(np.zeros((0, 11), dtype=np.float32)) is None


def test_one_distribution_is_no_list_of_them() -> None:
    with pytest.raises(BadInput, match=r"shape \[n, 11\], not \[11\]"):
        rank_confidence(row(b1=1.0))


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.sampled_from([0.1, 1.0, 10.0]))
def test_a_simulation_says_the_same(seed: int, count: int, concentration: float) -> None:
    """Relevance is drawn for each product; how often none of the others has more than the first?"""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(11, concentration), count)
    rows = rows[np.argsort(-(rows @ np.arange(11)))]
    draws = 20_000
    drawn = (rng.random((draws, count, 1)) > rows.cumsum(axis=1)[None, :, :-1]).sum(axis=2)
    simulated = float((drawn[:, 0] >= drawn[:, 1:].max(axis=1)).mean())
    lead = np.sign(drawn[:, :1] - drawn[:, 1:]).mean(axis=0).min()
    found = rank_confidence(rows)
    assert found is not None
    assert found.first_is_best == pytest.approx(simulated, abs=5 * 0.5 / np.sqrt(draws))
    if abs(lead - 0.1) > 5 / np.sqrt(draws):
        assert found.near_tie == (lead < 0.1)
