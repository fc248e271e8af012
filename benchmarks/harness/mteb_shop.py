"""The test queries of a data folder as a reranking task of mteb's, which asks no network."""

from __future__ import annotations

from typing import Any

import datasets
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from gen_rerank.data.dataset import Dataset

GRADES = 100  # the steps of a relevance


class ShopReranking(AbsTaskRetrieval):
    """A data set as mteb's reranking tasks have theirs: title and text, grades of 0 to 100, a main score.

    Args:
        shop: whose judged pairs are ranked.
        instruction: that all queries bring, as those of some tasks do.
    """

    metadata = TaskMetadata(
        name="ShopReranking",
        description="The judged queries of a data folder.",
        reference=None,
        type="Reranking",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_5",
        dataset={"path": "nowhere/shop", "revision": "1"},
        date=("2026-01-01", "2026-01-02"),
        domains=["E-commerce"],
        task_subtypes=[],
        license="apache-2.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )

    def __init__(self, shop: Dataset, instruction: str | None = None) -> None:
        super().__init__()
        self.shop = shop
        self.instruction = instruction

    def load_data(self, *_given: Any, **_more: Any) -> None:
        """Hand the data set to mteb in its form."""
        queries = [{"id": query.query_id, "text": query.text} for query in self.shop.queries.values()]
        if self.instruction is not None:
            queries = [{**query, "instruction": self.instruction} for query in queries]
        corpus = [
            {"id": product.product_id, "title": product.title, "text": product.description or ""}
            for product in self.shop.products.values()
        ]
        relevant = {
            query: {row.product_id: round(GRADES * row.relevance) for row in rows}
            for query, rows in self.shop.by_query().items()
        }
        self.dataset = {
            "default": {
                "test": {
                    "queries": datasets.Dataset.from_list(queries),
                    "corpus": datasets.Dataset.from_list(corpus),
                    "relevant_docs": relevant,
                    "top_ranked": {query: list(rows) for query, rows in relevant.items()},
                }
            }
        }
        self.data_loaded = True
