"""Orders of a few candidates, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gen_rerank.search.headroom import DEEPEST, RankedQuery, headroom
from gen_rerank.search.recall import DEPTHS

NAN = float("nan")
SECOND = 1 / np.log2(3)


@pytest.fixture
def two_queries() -> list[RankedQuery]:
    """Three candidates each: of the first query an unjudged product leads; of the second, one is not found."""
    return [
        RankedQuery("q", np.array([1.0, 0.5]), np.array([NAN, 0.5, 1.0]), np.array([0.1, 0.2, 0.9])),
        RankedQuery("r", np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0]), np.array([0.3, 0.3])),
    ]


def test_by_hand(two_queries) -> None:
    found = headroom(two_queries)
    assert (found.query_ids, found.candidates) == (("q", "r"), 5)
    ideal = 1 + 0.5 * SECOND
    expected = {
        "random": [0.5 * (1 + SECOND + 0.5) / ideal, 0],
        "retrieved": [(0.5 * SECOND + 0.5) / ideal, 0],
        "reranked": [1, 0],
        "oracle": [1, 0],
        "random, judged only": [0.75 * (1 + SECOND) / ideal, 0],
        "retrieved, judged only": [(0.5 + SECOND) / ideal, 0],
        "reranked, judged only": [1, 0],
    }
    for row, values in expected.items():
        for depth in DEPTHS:
            assert found.values[10][row][depth].tolist() == pytest.approx(values)
            assert found.interval(row, depth).mean == pytest.approx(np.mean(values))
    assert found.missed().mean == 0.5
    assert found.gain("oracle", "reranked").mean == 0.0
    assert found.retrieval_over_reranking().mean == 0.5
    # Of five candidates one is not judged.
    assert {row: shares[DEEPEST] for row, shares in found.unjudged.items()} == dict.fromkeys(
        ("random", "retrieved", "reranked", "oracle"), 0.2
    )


def test_depths() -> None:
    """The only relevant product is the 17th; ten unjudged ones lead, and the model puts them last."""
    relevance = np.array([NAN] * 10 + [0.0] * 6 + [1.0])
    found = headroom([RankedQuery("q", np.array([1.0] + [0.0] * 6), relevance, np.arange(17.0))])
    for row, means in {"retrieved": [0, 0, 0], "reranked": [0, 1, 1], "oracle": [0, 1, 1]}.items():
        assert [found.interval(row, depth).mean for depth in DEPTHS] == means
    assert found.gain("reranked", "reranked", 64, 16).mean == 1.0
    assert found.gain("reranked", "reranked", 256, 64).mean == 0.0
    assert [found.missed(depth).mean for depth in DEPTHS] == [1, 0, 0]
    assert found.interval("retrieved, judged only", 64).mean == pytest.approx(1 / np.log2(8))
    assert found.unjudged["retrieved"][64] == 1.0
    assert found.unjudged["reranked"] == {16: 0.4, 64: 0.3, 256: 0.3}
    assert found.unjudged["random"] == pytest.approx({16: 10 / 16, 64: 10 / 17, 256: 10 / 17})


def test_equal_scores_stay_as_retrieved() -> None:
    one = RankedQuery("q", np.array([1.0]), np.array([1.0, 0.0, NAN]), np.array([0.5, 0.5, 0.5]))
    assert one.orders(16)["reranked"].tolist() == pytest.approx([1.0, 0.0, NAN], nan_ok=True)


def test_a_query_that_finds_nothing_counts() -> None:
    found = headroom([RankedQuery("q", np.array([1.0]), np.array([]), np.array([]))])
    assert {row: found.interval(row, DEEPEST).mean for row in found.values[10]} == dict.fromkeys(found.values[10], 0.0)
    assert found.unjudged["retrieved"][DEEPEST] == 0.0


def test_json_has_every_figure(two_queries) -> None:
    found = headroom(two_queries)
    row = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert row["nDCG@10"]["reranked"]["256"][0] == 0.5
    assert row["nDCG@5"].keys() == row["nDCG@10"].keys() == found.values[10].keys()
    assert row["differences of nDCG@10"]["1 - oracle"]["16"][0] == 0.5
    assert row["unjudged among all candidates"]["64"] == 0.2
    assert row["per_query"]["oracle"]["256"] == [1.0, 0.0]
