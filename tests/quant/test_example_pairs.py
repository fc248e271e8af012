"""Which pairs scales are set with: evenly spread, seeded, never of a test query."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.checkpoints.checkpoint import Checkpoint
from quant.example_pairs import LEAST_PAIRS, ExamplePairs, draw_pairs

TAGS = ("gift", "typo", "brand")
ROW = st.tuples(
    st.sampled_from(("train", "validation", "test")),
    st.lists(st.sampled_from(TAGS), unique=True, max_size=3),
    st.lists(st.integers(0, 10), min_size=1, max_size=6),
)


def dataset(rows) -> Dataset:
    """One query a row, whose text is its identifier, with a product of its own for each grade."""
    queries, products, judgments = {}, {}, []
    for i, (split, tags, grades) in enumerate(rows):
        queries[f"q{i}"] = Query(query_id=f"q{i}", text=f"q{i}", split=split, tags=tuple(tags))
        for j, grade in enumerate(grades):
            name = f"p{i}-{j}"
            products[name] = Product(product_id=name, title=name)
            judgments.append(Judgment(query_id=f"q{i}", product_id=name, relevance=grade / 10))
    return Dataset(products, queries, tuple(judgments))


def drawn(data: Dataset, limit: int, seed: int = 0) -> list[Judgment]:
    by_product = {row.product_id: row for row in data.judgments}
    return [by_product[pair.product.product_id] for pair in draw_pairs(data, limit, seed)]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.integers(1, 60), st.integers(0, 5))
def test_never_a_test_query_and_training_before_validation(rows, limit, seed):
    data = dataset(rows)
    usable = [row for row in data.judgments if data.queries[row.query_id].split != "test"]
    if not usable:
        with pytest.raises(BadInput, match="test queries only"):
            draw_pairs(data, limit, seed)
        return
    found = drawn(data, limit, seed)
    splits = [data.queries[row.query_id].split for row in found]
    assert "test" not in splits
    assert splits == sorted(splits)  # "train" sorts before "validation"
    assert len(found) == len({row.product_id for row in found}) == min(limit, len(usable))


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.integers(1, 60), st.integers(0, 5))
def test_bins_and_tags_are_as_even_as_the_data_allow(rows, limit, seed):
    """Of two bins, one may be ahead by a pair at most, unless the other has no more; so may tags within a bin."""
    data = dataset([("train", tags[:1], grades) for _, tags, grades in rows])

    def tag(row):
        return data.queries[row.query_id].tags

    def even(found, there):
        counts = Counter(found)
        for one, left in Counter(there).items():
            assert counts[one] == left or max(counts.values()) <= counts[one] + 1

    found = drawn(data, limit, seed)
    even([row.relevance for row in found], [row.relevance for row in data.judgments])
    for grade in {row.relevance for row in found}:
        even(*([tag(row) for row in rows if row.relevance == grade] for rows in (found, data.judgments)))


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=15), st.integers(1, 20), st.integers(0, 5))
def test_a_seed_draws_the_same_pairs_and_a_larger_limit_appends(rows, limit, seed):
    data = dataset([("train", tags, grades) for _, tags, grades in rows])
    assert draw_pairs(data, limit, seed) == draw_pairs(data, limit, seed)
    assert draw_pairs(data, limit + 7, seed)[:limit] == draw_pairs(data, limit, seed)


def test_another_seed_draws_others(tiny_shop):
    assert draw_pairs(tiny_shop, 40, seed=0) != draw_pairs(tiny_shop, 40, seed=1)


def test_by_hand():
    """Six pairs worth 0, one worth 1: the second pair is of the other bin; a query of two tags counts as the rarer."""
    data = dataset([("train", ["gift"], [0] * 5), ("train", ["gift", "typo"], [0]), ("train", [], [10])])
    for seed in range(5):
        first, second, third = drawn(data, 3, seed)
        assert {first.relevance, second.relevance} == {0.0, 1.0}
        zeros = [row for row in (first, second, third) if row.relevance == 0]
        assert {row.query_id for row in zeros} == {"q0", "q1"}


def test_the_prompts_are_the_checkpoints_own_and_whole(tiny_checkpoint: Path, tiny_shop: Dataset):
    prompt = Checkpoint.open(tiny_checkpoint).prompt
    drawn = ExamplePairs.draw(tiny_shop, prompt, 40, seed=3)
    assert list(drawn.token_ids) == prompt.encode(draw_pairs(tiny_shop, 40, seed=3))
    ends = {tuple(ids[-3:]) for ids in drawn.token_ids}
    assert len(ends) == 1, "every prompt ends with the suffix that carries the readout"
    assert (len(drawn.pairs), drawn.seed, drawn.fingerprint) == (40, 3, tiny_shop.fingerprint)
    assert drawn.tokens == int(np.sum([len(ids) for ids in drawn.token_ids]))


def test_there_may_be_fewer_than_asked_for_but_not_too_few(tiny_checkpoint: Path, tiny_shop: Dataset):
    prompt = Checkpoint.open(tiny_checkpoint).prompt
    usable = len(tiny_shop.of("train").judgments) + len(tiny_shop.of("validation").judgments)
    assert len(ExamplePairs.draw(tiny_shop, prompt, 10_000).pairs) == usable
    with pytest.raises(BadInput, match="8 example pairs are too few"):
        ExamplePairs.draw(tiny_shop, prompt, 8)
    with pytest.raises(BadInput, match=f"has 2 judged pairs .* needs {LEAST_PAIRS} or more"):
        ExamplePairs.draw(dataset([("train", [], [0, 5])]), prompt, 512)
