"""Requests and answers without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gen_rerank import Distribution
from serve.wire import JinaRequest, Refusal, parse, ranked

GOOD: dict[str, Any] = {"query": "red desk", "documents": ["Red desk"]}


def refusal(**changes: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse(json.dumps(GOOD | changes).encode(), JinaRequest).pairs()
    return refused.value


def test_documents_are_strings_texts_or_products() -> None:
    documents = [
        "Red desk",
        {"text": "Oak desk"},
        {"title": "Desk", "brand": "B", "price": "3.5", "attributes": {"w": 2}},
    ]
    pairs = parse(json.dumps(GOOD | {"documents": documents}).encode(), JinaRequest).pairs()
    assert [pair.product.title for pair in pairs] == ["Red desk", "Oak desk", "Desk"]
    assert pairs[2].product.price == 3.5
    assert pairs[2].product.attributes == {"w": "2"}
    assert {pair.query for pair in pairs} == {"red desk"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"documents": []}, "documents is empty"),
        ({"documents": "Red desk"}, "documents: input should be a valid"),
        ({"documents": [3]}, "documents.0 is neither a string nor an object"),
        ({"documents": ["a", None]}, "documents.1 is neither"),
        ({"documents": ["a", {"brand": "B"}]}, "documents.1 has no title"),
        ({"documents": [{"title": ""}]}, "documents.0.title"),
        ({"documents": [{"title": "a", "price": "cheap"}]}, "documents.0.price"),
        ({"documents": [{"title": "a", "colour": "red"}]}, "unknown field 'colour'"),
        ({"documents": [{"text": 3}]}, "documents.0.text is not a string"),
        ({"documents": [" "]}, "documents.0 has no text"),
        ({"documents": ["a"] * 1025}, "documents has 1025 entries; the limit is 1024"),
        ({"query": "  "}, "query has no text"),
        ({"query": 3}, "query: input should be a valid string"),
        ({"query": "q" * 100_000}, "query has 100000 characters; the limit is 10000"),
        ({"instruction": "q" * 100_000}, "instruction has 100000 characters"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "three"}, "top_n"),
    ],
)
def test_what_a_client_can_do_wrong_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    refused = refusal(**changes)
    assert refused.status == 422
    assert words in refused.sentence
    assert "\n" not in refused.sentence
    assert len(refused.sentence) < 250


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 10_000, b'{"query": "\\ud800"}', b"\xff"])
def test_a_body_that_is_not_json_is_400(body: bytes) -> None:
    with pytest.raises(Refusal, match="not valid JSON") as refused:
        parse(body, JinaRequest)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"[]", b"3", b"null"])
def test_a_body_that_is_no_object_is_422(body: bytes) -> None:
    with pytest.raises(Refusal, match="not a JSON object"):
        parse(body, JinaRequest)


def test_missing_fields_are_named() -> None:
    with pytest.raises(Refusal, match="documents is missing"):
        parse(b'{"query": "a"}', JinaRequest)


def test_results_are_best_first_and_ties_keep_the_order() -> None:
    documents = ["a", "b", {"title": "c"}, "d"]
    asked = {"documents": documents, "top_n": 3, "return_documents": True, "return_distribution": True}
    request = parse(json.dumps(GOOD | asked).encode(), JinaRequest)
    scored = Distribution(np.eye(11)[[5, 2, 9, 5]])
    results = ranked(request, request.pairs(), scored)
    assert [result.index for result in results] == [2, 0, 3]
    assert results[0].relevance_score == pytest.approx(0.9)
    assert results[0].distribution == np.eye(11)[9].tolist()
    assert [result.document for result in results] == [{"title": "c"}, {"text": "a"}, {"text": "d"}]


def test_extras_are_left_out_unless_asked_for() -> None:
    request = parse(json.dumps(GOOD | {"truncate": True}).encode(), JinaRequest)
    (result,) = ranked(request, request.pairs(), Distribution(np.eye(11)[[5]]))
    assert result.model_dump(exclude_none=True).keys() == {"index", "relevance_score", "std"}
