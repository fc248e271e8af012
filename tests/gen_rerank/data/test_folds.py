"""Folds of whole queries, by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.folds import deal, part
from tests.conftest import shop_of


@given(st.integers(1, 40), st.integers(2, 7), st.integers(0, 5))
def test_every_query_is_held_out_once_and_whole(queries: int, folds: int, seed: int) -> None:
    shop = shop_of([f"query {i}" for i in range(queries)])
    found = deal(shop, folds, seed)
    of = {(row.query_id, fold) for row, fold in zip(shop.judgments, found, strict=True)}
    assert len(of) == queries  # each in one fold
    sizes = Counter(fold for _, fold in of)
    assert set(sizes) == set(range(min(folds, queries)))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert np.array_equal(found, deal(shop, folds, seed))
    for fold in sizes:
        held, rest = part(shop, found == fold), part(shop, found != fold)
        assert not set(held.queries) & set(rest.queries)
        assert len(held.judgments) + len(rest.judgments) == len(shop.judgments)


def test_another_seed_deals_otherwise() -> None:
    shop = shop_of([f"query {i}" for i in range(20)])
    assert not np.array_equal(deal(shop, 5, 0), deal(shop, 5, 1))


def test_one_text_under_two_names_is_one_query() -> None:
    shop = shop_of(["Oak desk", " oak  DESK ", "lamp", "sofa"])
    fold = {row.query_id: number for row, number in zip(shop.judgments, deal(shop, 3, 0), strict=True)}
    assert fold["q0"] == fold["q1"]
    assert len(set(fold.values())) == 3
