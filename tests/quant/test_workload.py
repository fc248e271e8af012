"""What visits score: no pair twice, judged products first, the same for a seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from quant.workload import VisitWorkload


def shop(products: int, texts: list[str], judged: list[tuple[int, int]]) -> Dataset:
    return Dataset(
        {f"p{i}": Product(product_id=f"p{i}", title=f"thing {i}") for i in range(products)},
        {f"q{i}": Query(query_id=f"q{i}", text=text, split="test") for i, text in enumerate(texts)},
        tuple(Judgment(query_id=f"q{q}", product_id=f"p{p}", relevance=1.0) for q, p in judged),
    )


@given(
    products=st.integers(2, 30),
    texts=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6),
    candidates=st.integers(2, 12),
    seed=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_no_pair_is_scored_twice(
    products: int, texts: list[str], candidates: int, seed: int, data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(texts) - 1), st.integers(0, products - 1))
    dataset = shop(products, texts, data.draw(st.lists(places, unique=True, min_size=1)))
    try:
        workload = VisitWorkload.of(dataset, candidates=candidates, seed=seed)
    except BadInput:
        # Every request takes that many of a text's products, so only this many can be made.
        assert len(set(texts)) * (products // min(candidates, products)) < 3
        return
    requests = [workload.warm_up, *workload.latency, *workload.throughput]
    pairs = [(request.query, product.product_id) for request in requests for product in request.products]
    assert len(set(pairs)) == len(pairs)
    assert {len(request.products) for request in requests} == {min(candidates, products)} == {workload.candidates}
    assert min(len(workload.latency), len(workload.throughput)) >= 1
    assert workload == VisitWorkload.of(dataset, candidates=candidates, seed=seed)
    assert [dataset.pair(dataset.judgments[place]) for place in workload.sample] == list(workload.sample_pairs)
    assert len(set(workload.sample)) == len(dataset.judgments)


def test_judged_products_come_first_and_the_others_are_new() -> None:
    dataset = shop(100, ["a", "b", "c", "d", "e"], [(0, 7), (0, 9), (1, 7), (2, 3), (3, 50), (4, 99)])
    workload = VisitWorkload.of(dataset, candidates=10)
    first = [workload.warm_up, *workload.latency, *workload.throughput][:5]
    judged = {
        query.text: {row.product_id for row in dataset.judgments if row.query_id == query.query_id}
        for query in dataset.queries.values()
    }
    assert {request.query for request in first} == set(judged), "each query comes once before one comes again"
    others = []
    for request in first:
        ids = [product.product_id for product in request.products]
        assert set(ids[: len(judged[request.query])]) == judged[request.query]
        others += ids[len(judged[request.query]) :]
    assert len(set(others)) == len(others) == 50 - 6


def test_seed_decides_order_products_and_sample(split: Dataset) -> None:
    one, other = (VisitWorkload.of(split, candidates=16, seed=seed) for seed in (0, 1))
    assert one.warm_up != other.warm_up
    assert one.sample != other.sample


def test_a_shop_that_is_too_small_is_refused() -> None:
    with pytest.raises(BadInput, match="the split has 2 queries and the catalog 3 products: too few"):
        VisitWorkload.of(shop(3, ["a", "b"], [(0, 0)]))
