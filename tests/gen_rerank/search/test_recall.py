"""Recall of lists that are written by hand."""

from __future__ import annotations

import pytest

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.search.candidates import ProductCandidate
from gen_rerank.search.fusion import fused
from gen_rerank.search.recall import DEPTHS, recall_report


class ListsByHand:
    """Fuses the lists of a query as an index does, and no more of them than it is asked for."""

    def __init__(self, found: dict[str, dict[str, list[str]]], held: set[str]) -> None:
        self.found, self.held = found, held
        self.lists = tuple(next(iter(found.values())))

    def __len__(self) -> int:
        return len(self.held)

    def gone(self, product_ids) -> set[str]:
        return set(product_ids) - self.held

    def listed(self, query: str, limit: int) -> dict[str, list[str]]:
        return {name: ids[:limit] for name, ids in self.found[query].items()}

    def candidates(self, query: str, limit: int) -> list[ProductCandidate]:
        lists = self.listed(query, limit)
        return [
            ProductCandidate(
                Product(product_id=key, title=key),
                {name: ids.index(key) + 1 for name, ids in lists.items() if key in ids},
            )
            for key, _ in fused(list(lists.values()), [1] * len(lists), limit)
        ]


def data(relevances: dict[str, dict[str, float]], more: int = 0) -> Dataset:
    ids = {key for row in relevances.values() for key in row} | {f"more{i}" for i in range(more)}
    return Dataset(
        {key: Product(product_id=key, title=f"thing {key}") for key in sorted(ids)},
        {query: Query(query_id=query, text=query, split="test") for query in relevances},
        tuple(
            Judgment(query_id=query, product_id=key, relevance=x)
            for query, row in relevances.items()
            for key, x in row.items()
        ),
    )


def means(report, name: str) -> list[float]:
    return [report.intervals[name][depth].mean for depth in DEPTHS]


def test_by_hand() -> None:
    """Of q one relevant product is found, by the title alone, and one is not in the index; r has none."""
    judged = data({"q": {"a": 1.0, "b": 0.2, "c": 0.8}, "r": {"a": 0.79}})
    index = ListsByHand({"q": {"title": ["b", "a"], "full": ["b"]}, "r": {"title": [], "full": []}}, {"a", "b"})
    report = recall_report(index, judged)
    assert (report.queries, report.without, report.relevant, report.missing) == (1, 1, 2, 1)
    assert means(report, "title") == means(report, "fused") == [0.5] * 3
    assert means(report, "full") == [0.0] * 3
    assert means(report, "random") == [0.5] * 3  # two products: all are drawn, and one is not there
    assert "bm25" not in report.intervals  # the index lacks c
    said = list(report.remarks())
    assert said[0].startswith("1 of 2 queries have no relevant product")
    assert said[1].startswith("1 of 2 relevant products are not in the index")
    assert report.to_json()["lists"]["title"]["16"] == [0.5, 0.5, 0.5]


def test_depths_and_floors() -> None:
    """The relevant product is the 20th of both lists, and the only one with the word of the query."""
    judged = data({"q": {"q": 1.0}}, more=99)
    ranked = [f"more{i}" for i in range(19)] + ["q"] + [f"more{i}" for i in range(19, 99)]
    report = recall_report(ListsByHand({"q": {"title": ranked, "full": ranked}}, set(judged.products)), judged)
    assert means(report, "title") == means(report, "full") == means(report, "fused") == [0.0, 1.0, 1.0]
    assert means(report, "random") == pytest.approx([0.16, 0.64, 1.0])
    assert means(report, "bm25") == [1.0] * 3


def test_no_relevant_product_at_all() -> None:
    report = recall_report(ListsByHand({"q": {"title": ["a"]}}, {"a"}), data({"q": {"a": 0.5}}))
    assert (report.queries, report.intervals) == (0, {})
    assert report.to_json()["lists"] == {}


def far_apart(depth: int) -> list[list[str]]:
    """Two lists whose first products are in one of them only, and whose next ones are in both, so that these lead."""
    both = [f"b{i}" for i in range(4 * depth)]
    return [[f"{name}{i}" for i in range(depth)] + both for name in "tf"]


def test_a_list_is_seen_whole() -> None:
    """The fusion of 256 does not hold the first 256 of each list, nor does that of 512."""
    lists = dict(zip(("title", "full"), far_apart(256), strict=True))
    assert not {"t255", "f255"} & {key for key, _ in fused(list(lists.values()), [1, 1], 512)}
    judged = data({"q": {"t255": 1.0, "f255": 1.0}})
    report = recall_report(ListsByHand({"q": lists}, {"t255", "f255", "b1"}), judged)
    assert means(report, "title") == means(report, "full") == [0.0, 0.0, 0.5]
    assert means(report, "fused") == [0.0] * 3
