"""Reciprocal ranks: by hand, and what must hold for any lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.search.fusion import RANK_CONSTANT, fused

LISTS = st.lists(st.lists(st.integers(0, 20), unique=True, max_size=12), max_size=4)


def test_the_sums_are_those_of_the_paper() -> None:
    found = fused([["a", "b"], ["b", "c"]], [1, 1], 10)
    assert [key for key, _ in found] == ["b", "a", "c"]
    assert [share for _, share in found] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_of_equals_the_one_that_came_earlier_is_first() -> None:
    assert [key for key, _ in fused([["a"], ["b"]], [1, 1], 2)] == ["a", "b"]


def test_a_list_counts_for_its_weight() -> None:
    assert fused([["a"], ["b"]], [0.3, 1], 2) == [("b", 1 / 61), ("a", 0.3 / 61)]


@given(LISTS, st.integers(0, 30))
def test_the_union_is_cut_and_no_product_comes_twice(lists: list[list[int]], limit: int) -> None:
    found = [key for key, _ in fused(lists, [1] * len(lists), limit)]
    assert len(found) == len(set(found)) == min(limit, len({key for ranked in lists for key in ranked}))
    assert found == [key for key, _ in fused(lists, [1] * len(lists), 1000)][:limit]


@given(st.lists(st.integers(), unique=True, max_size=20))
def test_one_list_keeps_its_order_and_so_do_two_that_agree(ranked: list[int]) -> None:
    assert [key for key, _ in fused([ranked], [0.3], 100)] == ranked
    assert [key for key, _ in fused([ranked, ranked], [0.3, 1], 100)] == ranked


@given(LISTS)
def test_who_is_before_another_in_every_list_is_before_it_in_the_answer(lists: list[list[int]]) -> None:
    order = [key for key, _ in fused(lists, [1] * len(lists), 1000)]
    shares = dict(fused(lists, [1] * len(lists), 1000))
    for key in order:
        assert shares[key] == pytest.approx(
            sum(1 / (RANK_CONSTANT + 1 + ranked.index(key)) for ranked in lists if key in ranked)
        )
    for first in order:
        for second in order:
            if lists and all(
                first in ranked and second in ranked and ranked.index(first) < ranked.index(second) for ranked in lists
            ):
                assert order.index(first) < order.index(second)
