"""`/v1/rerank` and `/v2/rerank`: they differ in the frame around the results."""

from __future__ import annotations

from typing import Any

import pytest

from serve.wire import COHERE, JINA

GOOD: dict[str, Any] = {"query": "red desk", "documents": ["Red desk", {"title": "Lamp"}, {"text": "Sofa"}]}


@pytest.mark.parametrize("dialect", [JINA, COHERE])
def test_one_pair_a_document(dialect: Any, ask: Any) -> None:
    question = ask(dialect, GOOD | {"instruction": "Rate.", "max_tokens_per_doc": 40, "model": "shop", "unknown": [1]})
    assert [(pair.query, pair.product.title) for pair in question.items] == [
        ("red desk", title) for title in ("Red desk", "Lamp", "Sofa")
    ]
    assert (question.model, question.instruction, question.limits.document_tokens) == ("shop", "Rate.", 40)
    assert not question.refuse_cut


def test_what_other_clients_send_is_known(ask: Any) -> None:
    assert ask(JINA, GOOD | {"max_doc_length": 30, "max_chunks_per_doc": 10}).limits.document_tokens == 30
    documents = [{"name": "Oak desk", "id": 7}, "Lamp"]
    named = ask(JINA, {"query": "q", "documents": documents, "rank_fields": ["name"], "truncate_prompt_tokens": -1})
    assert [pair.product.title for pair in named.items] == ["Oak desk", "Lamp"]


def test_the_answer_has_the_fields_of_jina_and_of_cohere_v1(reply: Any) -> None:
    answer = reply(JINA, GOOD | {"top_n": 2, "return_documents": True}, [3, 9, 3])
    assert answer.pop("id")
    assert answer == {
        "no_good_match": False,
        "model": "tiny",
        "usage": {"prompt_tokens": 70, "total_tokens": 70},
        "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        "results": [
            result(1, 0.9, "exact", {"title": "Lamp"}),
            result(0, 0.3, "irrelevant", {"text": "Red desk"}),
        ],
    }


def test_an_option_that_is_null_is_not_given(reply: Any) -> None:
    """Cohere's client sends what it was given, and it may be given None."""
    nulls = dict.fromkeys(("model", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc"))
    answer = reply(JINA, GOOD | nulls, [3, 9, 3])
    assert [result["index"] for result in answer["results"]] == [1, 0, 2]
    assert "document" not in answer["results"][0]


def test_what_cohere_does_not_rank_by_comes_back_as_sent(ask: Any, reply: Any) -> None:
    document = {"text": "Oak desk", "id": "7", "tags": ["a", {"b": None}]}
    body = {"query": "q", "documents": [document], "return_documents": True}
    (pair,) = ask(JINA, body).items
    assert (pair.product.title, pair.product.attributes, pair.product.product_id) == ("Oak desk", {}, "0")
    assert reply(JINA, body, [5])["results"][0]["document"] == document


def test_cohere_v2(reply: Any) -> None:
    answer = reply(COHERE, GOOD, [0, 5, 10], thresholds={})
    assert answer.keys() == {"id", "results", "meta"}
    assert answer["meta"] == {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    assert answer["results"] == [result(2, 1.0), result(1, 0.5), result(0, 0.0)]


def result(index: int, score: float, tier: str | None = None, document: Any = None) -> dict[str, Any]:
    near = pytest.approx(score)
    extras = {name: value for name, value in (("tier", tier), ("document", document)) if value}
    return {"index": index, "relevance_score": near, "mean": near, "std": pytest.approx(0, abs=1e-6)} | extras


@pytest.mark.parametrize("dialect", [JINA, COHERE])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"documents": []}, "documents is empty"),
        ({"documents": "Red desk"}, "documents: input should be a valid"),
        ({"documents": ["a", None]}, "documents.1 is neither a string nor an object"),
        ({"documents": ["a", {"brand": "B"}]}, "documents.1 has no title"),
        ({"documents": ["a"] * 1025}, "documents has 1025 entries; the limit is 1024"),
        ({"query": "  "}, "query has no text"),
        ({"query": 3}, "query: input should be a valid string"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "three"}, "top_n"),
        ({"top_n": 10**4000}, "top_n"),
        ({"min_score": 1.5}, "min_score"),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"return_quantiles": [0.5, 2]}, "return_quantiles.1: input should be less than or equal to 1"),
        ({"return_quantiles": [0.5] * 101}, "return_quantiles"),
        ({"rank_fields": "title"}, "rank_fields"),
    ],
)
def test_what_a_client_can_do_wrong_is_one_sentence(
    dialect: Any, changes: dict[str, Any], words: str, refused: Any
) -> None:
    refusal = refused(dialect, GOOD | changes)
    assert refusal.status == dialect.errors.status(refusal) == 422
    assert words in refusal.sentence
