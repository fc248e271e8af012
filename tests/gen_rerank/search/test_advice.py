"""What follows from a headroom, of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.search.absent import Absent
from gen_rerank.search.advice import advice
from gen_rerank.search.headroom import ORDERS, Headroom
from gen_rerank.search.recall import DEPTHS

QUERIES = 40
ALL_THERE = Absent(0, 400, np.zeros(QUERIES))


def of_means(retrieved: float, model: float, oracle: float, *, judged: float | None = None, queries: int = QUERIES,
             shallow: float | None = None) -> Headroom:  # fmt: skip
    """Values around means, a little apart from query to query; `judged` is the model's by judged products only."""
    wave = 0.02 * np.sin(np.arange(queries))
    wave -= wave.mean()
    means = {
        "random": 0.1,
        "retrieved": retrieved,
        "reranked": model,
        "oracle": oracle,
        "random, judged only": 0.1,
        "retrieved, judged only": retrieved,
        "reranked, judged only": model if judged is None else judged,
    }
    few = oracle if shallow is None else shallow
    values = {
        row: {k: np.minimum(few if row == "oracle" and k == 16 else mean, 1.0) + wave * (mean < 0.99) for k in DEPTHS}
        for row, mean in means.items()
    }
    ids = tuple(str(i) for i in range(queries))
    return Headroom(ids, 256 * queries, {10: values}, {order: dict.fromkeys(DEPTHS, 0.4) for order in ORDERS})


@pytest.mark.parametrize(
    ("found", "invest", "why"),
    [
        (of_means(0.5, 0.6, 0.95), "reranking", "Invest in reranking: its headroom is larger than that of retrieval"),
        (of_means(0.5, 0.65, 0.7), "retrieval", "Invest in retrieval: its headroom is larger than that of reranking"),
        (of_means(0.9, 0.995, 1.0), "neither", "Invest in neither: both headrooms are at most 0.01."),
        (of_means(0.5, 0.6, 0.8), "undecided", "Undecided: the headroom of retrieval minus that of reranking is"),
        (of_means(0.5, 0.6, 0.95, judged=0.94), "undecided", "Undecided: 40% of nano's first 10 are not judged."),
        (of_means(0.5, 0.6, 0.95, queries=4), "undecided", "Undecided: too few queries to judge by"),
    ],
)
def test_every_verdict(found: Headroom, invest: str, why: str) -> None:
    said = advice(found, "nano", ALL_THERE)
    assert said.invest == invest
    assert said.sentences[-1].startswith(why)
    assert len(said.sentences) == (1 if "too few" in why else 7)


def test_the_larger_headroom_is_said_with_its_sign() -> None:
    """0.35 of reranking and 0.05 of retrieval, whichever is asked for."""
    assert "by +0.3000 [" in advice(of_means(0.5, 0.6, 0.95), "nano", ALL_THERE).sentences[-1]
    assert "by +0.2500 [" in advice(of_means(0.5, 0.65, 0.7), "nano", ALL_THERE).sentences[-1]


def test_what_is_measured_is_said_under_both_treatments() -> None:
    said = advice(of_means(0.7, 0.6, 0.95, judged=0.8, shallow=0.75), "nano", ALL_THERE).sentences
    assert said[1].startswith("nano over the order of retrieval: -0.1000 [")
    assert " | +0.1000 [" in said[1]
    assert said[1].endswith("undecided, since the unjudged products decide it.")
    assert said[2].startswith("A perfect reranker over nano, the headroom of reranking: +0.3500 [")
    assert said[4].startswith("64 candidates instead of 16: +0.2000 [")
    assert said[5].startswith("256 candidates instead of 64: 0.0000 [")
    assert said[5].endswith("no difference beyond chance.")


def test_a_worse_order_is_said() -> None:
    assert advice(of_means(0.7, 0.6, 0.95), "nano", ALL_THERE).sentences[1].endswith(": worse, so search without it.")
    assert advice(of_means(0.5, 0.6, 0.95), "nano", ALL_THERE).sentences[1].endswith(": better.")


def test_what_the_index_lacks_is_no_headroom_of_retrieval() -> None:
    """0.3 to 1 in each query, of which 0.25 are not in the index."""
    lacking = Absent(100, 400, np.full(QUERIES, 0.25))
    said = advice(of_means(0.5, 0.65, 0.7), "nano", lacking)
    assert said.invest == "undecided"
    assert "headroom of retrieval: +0.0500 [" in said.sentences[3]
    assert said.sentences[-1].startswith("Undecided: 100 of 400 products above relevance 0 are not in the index, which")
    assert "costs 0.250 [0.250, 0.250] of nDCG@10. Neither retrieval nor" in said.sentences[-1]
    few = Absent(1, 400, np.full(QUERIES, 0.001))
    assert advice(of_means(0.5, 0.65, 0.7), "nano", few).invest == "retrieval"
