"""`POST /rerank` with `documents`, where it differs from `/v1/rerank`."""

from __future__ import annotations

from typing import Any

import pytest

from serve.wire import JINA, SCORE, VLLM

GOOD: dict[str, Any] = {"query": "red desk", "documents": ["Red desk", {"title": "Lamp"}, {"text": "Sofa"}]}


@pytest.mark.parametrize(("top_n", "count"), [(0, 3), (None, 3), (2, 2), (5, 3)])
def test_0_results_are_all(top_n: int | None, count: int, reply: Any) -> None:
    assert len(reply(VLLM, GOOD | {"top_n": top_n}, [3, 9, 3])["results"]) == count


def test_0_tokens_are_no_limit(ask: Any) -> None:
    assert ask(VLLM, GOOD | {"max_tokens_per_doc": 0}).limits.document_tokens is None
    assert ask(VLLM, GOOD | {"max_tokens_per_doc": 7}).limits.document_tokens == 7


def test_documents_come_back_unless_they_are_not_wanted(reply: Any) -> None:
    results = reply(VLLM, GOOD, [3, 9, 3])["results"]
    assert [result["document"] for result in results] == [{"title": "Lamp"}, {"text": "Red desk"}, {"text": "Sofa"}]
    assert "document" not in reply(VLLM, GOOD | {"return_documents": False}, [3, 9, 3])["results"][0]


def test_all_else_is_as_jina_has_it(ask: Any, reply: Any) -> None:
    body = GOOD | {"instruction": "Rate.", "min_score": 0.5, "return_documents": True, "max_doc_length": 9}
    assert ask(VLLM, body) == ask(JINA, body)
    answers = [reply(dialect, body, [3, 9, 3]) for dialect in (VLLM, JINA)]
    assert all(answer.pop("id") for answer in answers)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top_n": -1}, "top_n: input should be greater than or equal to 0"),
        ({"max_tokens_per_doc": -1}, "max_tokens_per_doc: input should be greater than or equal to 0"),
        ({"documents": []}, "documents is empty"),
    ],
)
def test_bad_requests_are_400_as_vllm_says_it(changes: dict[str, Any], words: str, refused: Any) -> None:
    refusal = refused(VLLM, GOOD | changes)
    assert VLLM.errors.status(refusal) == 400
    assert words in VLLM.errors.error(refusal)["error"]["message"]


@pytest.mark.parametrize(
    "document", ["Oak desk", {"title": "Oak desk"}, {"content": [{"type": "text", "text": "Oak desk"}]}]
)
def test_one_document_stands_for_the_list(document: Any, ask: Any, reply: Any) -> None:
    body = {"query": "q", "documents": document}
    assert ask(VLLM, body).items == ask(VLLM, body | {"documents": [document]}).items
    assert [item.product.title for item in ask(VLLM, body).items] == ["Oak desk"]
    echoed = {"text": document} if isinstance(document, str) else document
    assert reply(VLLM, body, [9])["results"][0]["document"] == echoed


PARTS = {"content": [{"type": "text", "text": "oak"}, {"type": "text", "text": "desk"}]}


@pytest.mark.parametrize(("dialect", "field"), [(VLLM, "query"), (SCORE, "queries"), (SCORE, "text_1")])
def test_a_query_may_be_content_parts(dialect: Any, field: str, ask: Any) -> None:
    assert ask(dialect, {field: PARTS, "documents": ["a"], "text_2": ["a"]}).items[0].query == "oak\ndesk"


def test_queries_may_be_content_parts(ask: Any) -> None:
    queries = [PARTS, "lamp"]
    assert [item.query for item in ask(SCORE, {"queries": queries, "documents": ["a", "b"]}).items] == [
        "oak\ndesk",
        "lamp",
    ]


@pytest.mark.parametrize(
    "content", [[{"type": "image_url", "image_url": {"url": "x"}}], [{"type": "text"}], "oak", [3]]
)
def test_other_parts_are_refused(content: Any, refused: Any) -> None:
    assert "query: input should be a valid string" in refused(VLLM, GOOD | {"query": {"content": content}}).sentence
    assert "queries is neither" in refused(SCORE, {"queries": {"content": content}, "documents": "a"}).sentence
