"""One search: retrieved, ranked, and looked at once more; with the index and with candidates of the caller's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gen_rerank import BadInput, Distribution, Pair, Product, Reranker
from gen_rerank.data.dataset import Dataset
from gen_rerank.search.building import build_index, change_index
from gen_rerank.search.candidates import ProductCandidate
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.search import Search
from gen_rerank.search.settings import IndexSettings

from .conftest import products


class ByLength:
    """A scorer for numbers that one can check: the longer a title, the better, in tenths; it calls back meanwhile."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile, self.closed, self.seen = meanwhile, False, 0
        thresholds = {"exact": 0.8, "close": 0.4}
        self.checkpoint: Any = SimpleNamespace(card=SimpleNamespace(calibration=SimpleNamespace(thresholds=thresholds)))

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        self.meanwhile()
        self.seen += len(pairs)
        return Distribution(np.eye(11)[[min(10, len(pair.product.title)) for pair in pairs]])

    def close(self) -> None:
        self.closed = True


def ids(answer: Any) -> list[str]:
    return [hit.product.product_id for hit in answer.results]


@pytest.fixture(scope="module")
def index(tiny_shop: Dataset, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "index"
    assert build_index(tiny_data, folder, IndexSettings()).products == len(tiny_shop.products)
    return folder


def test_without_a_model_an_answer_is_what_was_retrieved(index: Path) -> None:
    with Search.open(index) as search:
        answer = search.find("red desk", k=3)
    found = ProductIndex.open(index).candidates("red desk")
    assert ids(answer) == [one.product.product_id for one in found[:3]]
    assert answer.results[0].product.title == "red desk"
    assert (answer.results[0].score, answer.results[0].tier, answer.results[0].distribution) == (None, None, None)
    assert answer.candidates == len(found) == 15
    assert list(answer.seconds) == ["retrieve", "rerank", "check"]


def test_a_model_orders_what_was_retrieved_as_the_reranker_does(index: Path, tiny_checkpoint: Path) -> None:
    with Search.open(str(index), model=tiny_checkpoint, candidates=12) as search:
        answer = search.find("red desk", k=5)
    found = [one.product for one in ProductIndex.open(index).candidates("red desk", 12)]
    expected = Reranker.load(tiny_checkpoint).rank("red desk", found, top_k=5)
    assert ids(answer) == [result.product.product_id for result in expected]
    assert [hit.score for hit in answer.results] == pytest.approx([result.score for result in expected], abs=1e-5)
    assert [hit.std for hit in answer.results] == pytest.approx([result.std for result in expected], abs=1e-5)
    assert all(sum(hit.distribution or ()) == pytest.approx(1) for hit in answer.results)
    assert (answer.candidates, answer.receipts) == (12, ())
    said = answer.to_json()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert set(said) == {
        "query",
        "no_good_match",
        "results",
        "receipts",
        "remarks",
        "seconds",
        "candidates",
        "below_tier",
    }
    assert set(said["results"][0]) >= {"product_id", "title", "score", "std", "tier"}


def test_scores_order_tiers_name_and_equals_stay_as_they_were_found() -> None:
    rows = [
        ProductCandidate(product, {"mine": rank})
        for rank, product in enumerate(products(a="12345", b="12", c="123456789", d="54321"), start=1)
    ]
    mine: Any = SimpleNamespace(candidates=lambda query, limit: rows[:limit])
    scorer: Any = ByLength()
    with Search(mine, scorer, candidates=3) as search:
        answer = search.find("q", k=10)
        assert [(hit.product.product_id, hit.score, hit.tier) for hit in answer.results] == [
            ("c", pytest.approx(0.9), "exact"),
            ("a", pytest.approx(0.5), "close"),
            ("b", pytest.approx(0.2), "irrelevant"),
        ]
        assert answer.results[0].ranks == {"mine": 3}
        assert scorer.seen == 3
        search.candidates = 4
        assert ids(search.find("q")) == ["c", "a", "d", "b"]
        assert ids(search.find("q", k=2)) == ["c", "a"]
    assert scorer.closed


def test_nothing_retrieved_is_nothing_scored(index: Path) -> None:
    scorer = ByLength()
    answer = Search(ProductIndex.open(index), scorer).find("xyzzy")  # type: ignore[arg-type]
    assert (answer.results, answer.candidates, scorer.seen) == ((), 0, 0)


@pytest.mark.parametrize("query", ["", " \t", "\0", "<br>"])
def test_a_query_without_text_is_refused_wherever_candidates_come_from(query: str) -> None:
    search = Search(SimpleNamespace(candidates=lambda query, limit: []))  # type: ignore[arg-type]
    for among in (None, products(a="Oak desk")):
        with pytest.raises(BadInput, match="the query has no text"):
            search.find(query, among=among)


def test_a_product_deleted_between_retrieval_and_answer_has_a_receipt(make_index: Callable[..., Path]) -> None:
    folder = make_index(a="oak desk", b="oak", c="oak lamps")
    opened = ProductIndex.open(folder)
    scorer: Any = ByLength(meanwhile=lambda: change_index(folder, delete=["c"]))
    answer = Search(opened, scorer, gone=opened.gone).find("oak", k=2)
    assert ids(answer) == ["a", "b"]  # the next one takes its place
    assert [receipt.to_json() for receipt in answer.receipts] == [
        {
            "product_id": "c",
            "title": "oak lamps",
            "rule": "deleted",
            "why": "the product was deleted from the index during the search",
            "before": 1,
            "after": None,
        }
    ]


def test_candidates_of_the_caller_need_not_be_in_the_index(make_index: Callable[..., Path]) -> None:
    search = Search.open(make_index(a="oak desk"))
    brought: Iterator[Product] = iter(products(x="Elm", y="Pine", a="oak desk"))
    answer = search.find("oak", k=9, among=brought)
    assert (ids(answer), answer.receipts, answer.candidates) == (["x", "y", "a"], (), 3)
    assert answer.results[1].ranks == {"given": 2}
    search.scorer = ByLength()  # type: ignore[assignment]
    assert ids(search.find("oak", among=products(x="Elm", y="Pine"))) == ["y", "x"]


def test_all_that_the_caller_brings_is_ranked_once() -> None:
    many = products(**{f"p{i}": "Oak" for i in range(300)})
    search = Search(SimpleNamespace(), ByLength())  # type: ignore[arg-type]
    answer = search.find("oak", k=400, among=[*many, *products(p7="Oak desk"), "Elm bed", {"title": "Oak bed"}])
    assert (len(answer.results), answer.candidates) == (302, 302)
    assert ids(answer)[:2] == ["301", "302"]
    assert [receipt.to_json() for receipt in answer.receipts] == [
        {
            "product_id": "p7",
            "title": "Oak desk",
            "rule": "duplicate",
            "why": "a candidate before it has the same id, and only the first is ranked",
            "before": 301,
            "after": None,
        }
    ]


def test_a_retriever_may_give_one_product_twice() -> None:
    rows = [ProductCandidate(product) for product in [*products(a="Oak", b="Elm"), *products(a="Oak")]]
    answer = Search(SimpleNamespace(candidates=lambda query, limit: rows)).find("oak")  # type: ignore[arg-type]
    assert (ids(answer), [one.rule for one in answer.receipts]) == (["a", "b"], ["duplicate"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"query": None}, "the query is None; give one text"),
        ({"query": 5}, "the query is 5; give one text"),
        ({"k": 2.5}, r"k is 2\.5; give a whole number from 1 on"),
        ({"k": 0}, "k is 0; give a whole number from 1 on"),
        ({"k": -1}, "k is -1; give"),
        ({"k": True}, "k is True; give"),
        ({"k": "3"}, "k is '3'; give"),
        ({"among": "abc"}, r"among is 'abc'; give a list, also of a single product: \[product\]"),
        ({"among": {"title": "x"}}, "among is {'title': 'x'}; give a list"),
        ({"among": [5]}, r"among\.0 is 5; a title or an object"),
        ({"among": ["x", {"colour": "red"}]}, r"among\.1 has an unknown field 'colour'"),
        ({}, "the retriever gave None; it has to give a list of ProductCandidate, empty for none"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(given: dict[str, Any], words: str) -> None:
    search = Search(SimpleNamespace(candidates=lambda query, limit: None))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=words):
        search.find(**{"query": "oak", **given})


def test_products_in_the_place_of_candidates_are_refused() -> None:
    search = Search(SimpleNamespace(candidates=lambda query, limit: products(a="x")))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"the retriever gave .*; it has to give a list of ProductCandidate"):
        search.find("oak")


def test_what_cannot_be_opened_is_one_sentence(index: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: no such folder; make one: gen-rerank index DATA --out INDEX"):
        Search.open(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no such folder"):
        Search.open(index, model=tmp_path / "nowhere")


def found_by(titles: Sequence[str], **asked: Any) -> Any:
    """An answer about these titles, whose scores are their lengths in tenths; exact begins at 0.8, close at 0.4."""
    return Search(SimpleNamespace(), ByLength()).find("desk", among=list(titles), **asked)


def test_a_least_tier_leaves_the_others_out_and_says_how_many() -> None:
    answer = found_by(["ab", "a" * 9, "abcd", "abc"], min_tier="close")
    assert [(hit.score, hit.tier) for hit in answer.results] == [
        (pytest.approx(0.9), "exact"),
        (pytest.approx(0.4), "close"),
    ]
    assert (answer.below, answer.candidates, answer.no_good_match) == (2, 4, False)
    assert answer.to_json()["below_tier"] == 2


@pytest.mark.parametrize(
    ("title", "least", "nothing"), [("abc", None, True), ("abcd", None, False), ("abcd", "exact", False)]
)
def test_an_answer_says_that_nothing_matches(title: str, least: Any, nothing: bool) -> None:
    answer = found_by(["a", title], min_tier=least)
    assert answer.no_good_match is answer.to_json()["no_good_match"] is nothing
    assert len(answer.results) == (0 if least else 2)


def test_how_sure_the_first_place_is() -> None:
    sure = found_by(["abc", "a" * 9], confidence=True)
    assert sure.to_json()["rank_confidence"] == 1.0
    assert not sure.confidence.near_tie
    assert found_by(["a" * 9, "b" * 9], confidence=True).confidence.near_tie
    assert found_by(["a"]).confidence is None
    assert "rank_confidence" not in found_by(["a"]).to_json()


def test_only_a_model_has_tiers_and_is_sure(index: Path) -> None:
    with Search.open(index) as search:
        assert search.find("red desk").no_good_match is None
        for asked in ({"min_tier": "close"}, {"confidence": True}):
            with pytest.raises(BadInput, match="are a model's to say; open the search with one"):
                search.find("red desk", **asked)
