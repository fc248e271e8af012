"""Curves over judgments: subsets of whole queries, each in the next; a table and a drawing of points."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves import HEADER, draw, rows_of
from curves_parts.subsets import nested_subsets
from curves_parts.ways import CurvePoint, ways_named
from gen_rerank import BadInput, Dataset, Distribution, Judgment, Product, Query
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from train.targets import gaussian


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Twenty queries to learn from and five test queries, with three to seven judgments each."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"product {i}") for i in range(7)}
    splits = ["train"] * 14 + ["validation"] * 6 + ["test"] * 5
    queries = {f"q{i}": Query(query_id=f"q{i}", text=f"query {i}", split=split) for i, split in enumerate(splits)}
    rows = [
        Judgment(query_id=key, product_id=f"p{i}", relevance=i / 6)
        for number, key in enumerate(queries)
        for i in range(3 + number % 5)
    ]
    return Dataset(products, queries, tuple(rows))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5), st.integers(0, 3))
def test_each_subset_has_whole_queries_and_holds_the_one_before(shop, sizes, seed):
    found = nested_subsets(shop, sizes, seed)
    groups = shop.by_query()
    learned = [subset.data.of("train").by_query() for subset in found]
    for subset, queries in zip(found, learned, strict=True):
        assert all(len(rows) == len(groups[key]) for key, rows in queries.items())
        assert (subset.queries, subset.judgments) == (len(queries), sum(map(len, queries.values())))
        assert subset.data.of("test").fingerprint == shop.of("test").fingerprint
        assert not subset.data.of("validation").judgments
    assert all(set(less) < set(more) for less, more in pairwise(learned))
    assert found[-1].judgments >= min(max(sizes), 100)


def test_a_size_is_reached_and_not_passed_by_more_than_a_query(shop):
    assert nested_subsets(shop, [40], 0)[0].judgments - 40 in range(7)
    assert nested_subsets(shop, [10_000, 20_000], 0)[0].queries == 20
    with pytest.raises(BadInput, match="needs queries to learn from and test queries"):
        nested_subsets(shop.of("train"), [10], 0)


def test_ways_are_named():
    assert ways_named("encoder, adapter") == ["encoder", "adapter"]
    with pytest.raises(BadInput, match="there is no way 'lora'; choose of adapter, all, encoder"):
        ways_named("adapter,lora")


def measured(shop: Dataset, noise: float) -> Evaluation:
    test = shop.of("test")
    gold = np.array([row.relevance for row in test.judgments])
    guess = np.clip(gold + np.random.default_rng(0).normal(0, noise, len(gold)), 0, 1)
    return evaluate("x", test, Distribution(gaussian(guess)))


def test_points_become_rows_and_a_drawing(shop, tmp_path: Path):
    base = measured(shop, 0.5)
    points = [
        CurvePoint("adapter", 20, 4, base, refused="no adapter was written: no gain"),
        CurvePoint("adapter", 60, 12, measured(shop, 0.1)),
        CurvePoint("encoder", 20, 4, measured(shop, 0.8)),
    ]
    rows = rows_of(base, points)
    assert all(len(row) == len(HEADER) for row in rows)
    assert rows[0][3] == rows[1][3]  # refused: the shop has the base
    assert rows[1][-1] == "refused: the base"
    assert rows[2][6].startswith("-")  # RPS is better when lower
    draw(base, points, tmp_path / "new" / "curves.svg")
    assert (tmp_path / "new" / "curves.svg").read_text().startswith("<?xml")
