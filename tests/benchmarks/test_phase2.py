"""The data of the benchmark: whole queries, the same ones each time, and labels of another scale."""

from __future__ import annotations

from gen_rerank import Dataset
from phase2 import STRICT_QUERIES, drawn, stricter


def test_queries_are_drawn_whole_and_by_a_seed(tiny_shop: Dataset) -> None:
    part = drawn(tiny_shop, {"train": 3})
    judged = part.by_query()
    assert all(rows == tiny_shop.by_query()[query] for query, rows in judged.items())
    assert sum(part.queries[query].split == "train" for query in judged) == 3
    assert part.of("test").judgments == tiny_shop.of("test").judgments, "what is not named is whole"
    assert set(part.products) == {row.product_id for row in part.judgments}
    assert part == drawn(tiny_shop, {"train": 3})
    assert part != drawn(tiny_shop, {"train": 3}, seed=1)


def test_labels_are_squared(tiny_shop: Dataset) -> None:
    strict = stricter(tiny_shop)
    assert len(strict.of("train").by_query()) == min(STRICT_QUERIES, len(tiny_shop.of("train").by_query()))
    before = {(row.query_id, row.product_id): row for row in tiny_shop.judgments}
    for row in strict.judgments:
        old = before[row.query_id, row.product_id]
        assert row.relevance == old.relevance**2
        assert row.labels == tuple(label**2 for label in old.labels)
