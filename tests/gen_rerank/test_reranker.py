"""The five lines of Python: order, ties, what may be given as a product, and what is said when it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gen_rerank import BadInput, Distribution, Pair, Product, Reranker
from gen_rerank.reranker import as_product


class ByTitle:
    """Scores a product by the bin that its title names, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Distribution:
        self.asked += [(pair.query, instruction) for pair in pairs]
        return Distribution(np.eye(11)[[int(pair.product.title) for pair in pairs]])


@pytest.fixture
def reranker() -> Reranker:
    return Reranker(ByTitle())


def test_best_first(reranker):
    ranked = reranker.rank("desk", ["3", "9", "0", "7"])
    assert [row.index for row in ranked] == [1, 3, 0, 2]
    assert [row.score for row in ranked] == pytest.approx([0.9, 0.7, 0.3, 0.0])
    assert [row.product.title for row in ranked] == ["9", "7", "3", "0"]
    assert all(row.std == 0 for row in ranked)
    assert ranked[0].distribution.tolist() == np.eye(11)[9].tolist()


def test_score_keeps_the_order_given(reranker):
    assert [row.index for row in reranker.score("desk", ["3", "9", "0"])] == [0, 1, 2]


def test_ties_stay_in_the_order_given(reranker):
    assert [row.index for row in reranker.rank("desk", ["5", "6", "5", "6", "5"])] == [1, 3, 0, 2, 4]


@pytest.mark.parametrize(("top_k", "expected"), [(None, [1, 2, 0]), (2, [1, 2]), (0, []), (99, [1, 2, 0])])
def test_top_k(reranker, top_k, expected):
    assert [row.index for row in reranker.rank("desk", ["1", "9", "4"], top_k)] == expected


def test_negative_top_k_is_refused(reranker):
    with pytest.raises(BadInput, match="top_k must not be negative, it is -1"):
        reranker.rank("desk", ["1"], top_k=-1)


@pytest.mark.parametrize("top_k", [1.5, "2", float("nan"), True])
def test_a_number_of_results_is_a_whole_number(reranker, top_k):
    with pytest.raises(BadInput, match=r"^top_k is .*; give a whole number"):
        reranker.rank("desk", ["1"], top_k=top_k)


@pytest.mark.parametrize("rank_fields", ["name", 5, [["name"]]])
def test_the_fields_to_read_are_a_list_of_names(reranker, rank_fields):
    with pytest.raises(BadInput, match=r"^rank_fields .*; give a list of names"):
        reranker.rank("desk", [{"name": "1"}], rank_fields=rank_fields)


def test_strings_dictionaries_and_products(reranker):
    given = [
        "1",
        {"title": "2", "brand": "Holm"},
        {"product_id": "x", "title": "3"},
        Product(product_id="y", title="4"),
    ]
    rows = reranker.score("desk", given)
    assert [row.product.product_id for row in rows] == ["0", "1", "x", "y"]
    assert rows[1].product.brand == "Holm"
    assert rows[3].product is given[3]


@pytest.mark.parametrize(
    ("product", "reason"),
    [
        ({"brand": "Holm"}, "products.1 has no title"),
        ({"title": ""}, "products.1 has no text"),
        ("  ", "products.1 has no text"),
        ("\u200b", "products.1 has no text"),
        ({"title": float("nan")}, "products.1 has no text"),
        ({"title": "x", "colour": "red"}, "products.1 has an unknown field 'colour'"),
        ({"title": "x", "price": "cheap"}, "products.1.price:"),
        ({"title": ["x"]}, "products.1.title: one text is needed, not a list"),
        (None, "products.1 is None; a title or an object"),
        (7, "products.1 is 7; a title or an object"),
        ([("title", "x", "y")], "products.1 is "),
    ],
)
def test_a_bad_product_is_named_by_its_place(reranker, product, reason):
    with pytest.raises(BadInput, match=reason):
        reranker.rank("desk", ["1", product])


@pytest.mark.parametrize(
    "products", ["Kettle", b"Kettle", {"title": "Kettle"}, Product(product_id="p", title="Kettle"), None, 5]
)
def test_one_product_is_no_list(reranker, products):
    with pytest.raises(BadInput, match=r"^products is .*; give a list, also of a single product"):
        reranker.rank("desk", products)


@pytest.mark.parametrize("query", [None, float("nan"), 5, ["a"], b"desk", {"query": "desk"}])
def test_a_query_is_a_text(reranker, query):
    with pytest.raises(BadInput, match=r"^the query is .*; give one text"):
        reranker.rank(query, ["1"])


@pytest.mark.parametrize("query", ["", " ", "\u200b\u200d\ufeff", "\0", "<br>"])
def test_a_query_has_text(reranker, query):
    with pytest.raises(BadInput, match=r"^the query has no text"):
        reranker.rank(query, ["1"])


@pytest.mark.parametrize("instruction", [5, float("nan"), ["rate"]])
def test_an_instruction_is_a_text(reranker, instruction):
    with pytest.raises(BadInput, match=r"^the instruction is "):
        reranker.rank("desk", ["1"], instruction=instruction)


def test_products_may_come_one_by_one(reranker):
    assert len(reranker.score("desk", (title for title in "123"))) == 3


def test_the_fields_to_read_can_be_named(reranker):
    row = {"name": "7", "colour": "red", "stock": 3}
    found = reranker.score("desk", [row], rank_fields=["name", "colour"])[0].product
    assert (found.title, found.attributes) == ("7", {"colour": "red"})


def test_a_missing_value_is_absent_as_in_rows_of_a_data_frame(reranker):
    found = reranker.score("desk", [{"title": "7", "brand": float("nan"), "price": float("nan")}])[0].product
    assert (found.brand, found.price) == (None, None)


def test_no_products_give_no_results(reranker):
    assert reranker.rank("desk", []) == []
    assert reranker.score("desk", []) == []


def test_the_query_and_the_instruction_reach_the_scorer(reranker):
    reranker.rank("desk", ["1", "2"], instruction="gifts only")
    assert reranker.scorer.asked == [("desk", "gifts only")] * 2


def test_as_product_by_default_is_the_first():
    assert as_product("Oak desk").product_id == "0"


def test_load_scores_with_a_checkpoint(tiny_checkpoint):
    ranked = Reranker.load(tiny_checkpoint).rank("oak desk", ["Oak desk", "Steel lamp", "Linen sofa"], top_k=2)
    assert len(ranked) == 2
    assert 1 >= ranked[0].score >= ranked[1].score >= 0
    assert ranked[0].std > 0
    assert ranked[0].distribution.sum() == pytest.approx(1, abs=1e-5)


def test_an_empty_list_with_a_checkpoint(tiny_checkpoint):
    assert Reranker.load(tiny_checkpoint).rank("oak desk", []) == []


def test_load_with_an_adapter(tiny_checkpoint, tiny_adapter):
    titles = ["Oak desk", "Steel lamp", "Linen sofa"]
    base = Reranker.load(tiny_checkpoint).score("oak desk", titles)
    adapted = Reranker.load(tiny_checkpoint, adapter=tiny_adapter).score("oak desk", titles)
    assert [row.score for row in adapted] != pytest.approx([row.score for row in base], abs=1e-3)


def test_unknown_backend(tiny_checkpoint):
    with pytest.raises(BadInput, match="no backend 'onnx'; choose one of transformers, vllm"):
        Reranker.load(tiny_checkpoint, backend="onnx")


def test_results_carry_their_tiers_and_a_least_tier_leaves_the_others_out() -> None:
    reranker = Reranker(ByTitle(), {"exact": 0.8, "close": 0.4})
    assert [row.tier for row in reranker.score("desk", ["8", "7", "4", "3"])] == [
        "exact",
        "close",
        "close",
        "irrelevant",
    ]
    assert [row.index for row in reranker.rank("desk", ["3", "9", "4", "7"], min_tier="close")] == [1, 3, 2]
    assert [row.index for row in reranker.rank("desk", ["3", "9", "4", "7"], 2, min_tier="close")] == [1, 3]
    assert reranker.rank("desk", ["3", "0"], min_tier="close") == []


def test_a_model_without_tiers_has_none_to_ask_for(reranker: Reranker) -> None:
    assert reranker.score("desk", ["9"])[0].tier is None
    with pytest.raises(BadInput, match="this model has no tiers; find them with gen-rerank calibrate"):
        reranker.rank("desk", ["9"], min_tier="close")
