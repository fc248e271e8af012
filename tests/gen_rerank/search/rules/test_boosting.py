"""Boosts, on distributions whose order one can work out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import Product
from gen_rerank.bins import BIN_VALUES
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.boosting import BEYOND_DOUBT, better_than, boosted
from gen_rerank.search.rules.file import Boost

Row = list[float]


def hit(name: str, brand: str, row: Row) -> Hit:
    probabilities = np.array(row) / sum(row)
    product = Product(product_id=name, title=name, brand=brand)
    return Hit(product, {}, float(probabilities @ BIN_VALUES), 0.1, None, tuple(probabilities.tolist()))


def sure(bin_: int) -> Row:
    return np.eye(11)[bin_].tolist()


def order(hits: list[Hit], **boost: Any) -> list[str]:
    return [one.product.product_id for one in boosted(hits, [Boost(brands=["B"], **boost)]).hits]


UNSURE = [1.0] * 11  # mean 0.5
ROUGH = [0.0] * 6 + [1.0] * 5  # mean 0.8


def test_how_likely_one_is_better() -> None:
    found = better_than([sure(6), [1 / 11] * 11])
    assert found == pytest.approx(np.array([[0.0, 6 / 11], [4 / 11, 5 / 11]]))


def test_a_boost_lifts_over_what_may_be_worse() -> None:
    hits = [hit("a", "A", sure(6)), hit("b", "B", UNSURE)]
    assert order(hits, by=0.05) == ["a", "b"]  # 0.55 is not more than 0.6
    assert order(hits, by=0.2) == ["b", "a"]


def test_not_over_what_is_better_beyond_doubt_unless_told_to() -> None:
    hits = [hit("a", "A", sure(6)), hit("b", "B", sure(5))]
    assert order(hits, by=1.0) == ["a", "b"]
    assert order(hits, by=1.0, beyond_doubt=True) == ["b", "a"]


def test_it_stops_behind_the_first_that_is_better_beyond_doubt() -> None:
    hits = [hit("a", "A", sure(9)), hit("b", "A", UNSURE), hit("c", "B", sure(4))]
    assert order(hits, by=0.9) == ["a", "c", "b"]


def test_a_product_that_counts_less_is_passed_by_the_next() -> None:
    hits = [hit("a", "B", UNSURE), hit("b", "A", sure(5)), hit("c", "A", sure(4))]
    assert order(hits, by=-0.05) == ["b", "a", "c"]
    assert order(hits, by=-0.5) == ["b", "c", "a"]


def test_equal_ones_stay_in_order_and_two_boosts_add_up() -> None:
    hits = [hit("a", "A", UNSURE), hit("b", "B", UNSURE), hit("c", "B", UNSURE)]
    found = boosted(hits, [Boost(brands=["B"], by=0.1), Boost(ids=["c"], by=0.1)])
    assert [one.product.product_id for one in found.hits] == ["c", "b", "a"]
    assert found.keys == pytest.approx([0.7, 0.6, 0.5])


@given(
    st.lists(st.tuples(st.sampled_from([UNSURE, *map(sure, range(11)), ROUGH]), st.sampled_from("AB")), max_size=12),
    st.floats(-1, 1),
)
def test_no_pair_beyond_doubt_is_turned_round(rows: list[tuple[Row, str]], by: float) -> None:
    hits = [hit(str(i), brand, row) for i, (row, brand) in enumerate(rows)]
    hits.sort(key=lambda one: -(one.score or 0))
    found = boosted(hits, [Boost(brands=["B"], by=by)])
    assert sorted(one.product.product_id for one in found.hits) == sorted(one.product.product_id for one in hits)
    assert boosted(hits, [Boost(brands=["B"], by=by)]).hits == found.hits
    place = {one.product.product_id: i for i, one in enumerate(found.hits)}
    better = better_than([one.distribution or () for one in hits])
    for i, j in itertools.combinations(range(len(hits)), 2):
        if better[i, j] >= BEYOND_DOUBT:
            assert place[hits[i].product.product_id] < place[hits[j].product.product_id]


def test_nothing_is_boosted() -> None:
    assert boosted([], [Boost(brands=["B"], by=0.1)]).hits == ()
