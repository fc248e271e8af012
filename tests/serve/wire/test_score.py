from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gen_rerank import Distribution
from gen_rerank.prompting.limits import NO_LIMITS
from serve.question import Answer
from serve.wire import SCORE, parse


@pytest.mark.parametrize(
    ("queries", "documents"),
    [("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2"), ("queries", "items")],
)
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("q", "a", [("q", "a")]),
        (["q"], {"title": "a"}, [("q", "a")]),
        ("q", ["a", {"text": "b"}], [("q", "a"), ("q", "b")]),
        (["q"], ["a", "b"], [("q", "a"), ("q", "b")]),
        (["q", "r"], ["a", "b"], [("q", "a"), ("r", "b")]),
    ],
)
def test_pairs(queries: str, documents: str, first: Any, second: Any, expected: Any, ask: Any) -> None:
    question = ask(SCORE, {queries: first, documents: second, "max_tokens_per_doc": 9, "instruction": "Rate."})
    assert [(pair.query, pair.product.title) for pair in question.items] == expected
    assert (question.limits.document_tokens, question.instruction) == (9, "Rate.")


def test_0_tokens_are_no_limit_as_vllms_clients_say_it(ask: Any) -> None:
    assert ask(SCORE, {"queries": "q", "documents": "a", "max_tokens_per_doc": 0}).limits == NO_LIMITS


def test_the_answer_keeps_the_order(reply: Any) -> None:
    answer = reply(SCORE, {"text_1": "q", "text_2": ["a", "b"], "return_quantiles": [0.5]}, [2, 10])
    assert answer.pop("id").startswith("score-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "list",
        "model": "tiny",
        "usage": {"prompt_tokens": 70, "total_tokens": 70, "completion_tokens": 0},
        "data": [row(0, 0.2, "irrelevant"), row(1, 1.0, "exact")],
    }


def row(index: int, score: float, tier: str) -> dict[str, Any]:
    near, std = pytest.approx(score), pytest.approx(0, abs=1e-6)
    said = {"index": index, "object": "score", "score": near, "mean": near, "std": std, "tier": tier}
    return said | {"quantiles": {"0.5": near}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"queries": ["q", "r"], "documents": "a"}, "there are 2 queries and 1 documents"),
        ({"queries": ["q", "r"], "documents": ["a"] * 3}, "there are 2 queries and 3 documents"),
        ({"queries": [], "documents": "a"}, "queries is empty"),
        ({"queries": "q", "documents": []}, "documents is empty"),
        ({"queries": "q", "documents": ["a"] * 1025}, "the limit is 1024"),
        ({"queries": ["q", " "], "documents": ["a", "b"]}, "queries.1 has no text"),
        ({"queries": "q", "documents": ["a", {"colour": "red"}]}, "documents.1 has an unknown field"),
        ({"queries": "q", "documents": "a", "max_tokens_per_doc": -1}, "max_tokens_per_doc"),
        ({"text_1": "q"}, "documents is missing"),
        ({"queries": ["q", 3], "documents": ["a"]}, "queries is neither a string nor a list of strings"),
    ],
)
def test_bad_requests_are_400_as_openai_says_it(body: dict[str, Any], words: str, refused: Any) -> None:
    refusal = refused(SCORE, body)
    assert SCORE.errors.status(refusal) == 400
    error = SCORE.errors.error(refusal)["error"]
    assert words in error.pop("message")
    assert error == {"type": "invalid_request_error", "param": None, "code": 400}


def test_a_document_without_text_keeps_its_place_and_has_a_note(ask: Any) -> None:
    body = {"queries": ["q", "r", "s"], "documents": ["a", "", "b"], "empty_documents": "last"}
    question = ask(SCORE, body)
    assert [getattr(item, "query", None) for item in question.items] == ["q", None, "s"]
    request = parse(json.dumps(body).encode(), SCORE.request)
    answer = Answer("tiny", Distribution(np.eye(11)[[2, 0, 10]]), 70, 0, 0, {}, blanks=frozenset({1}))
    data = SCORE.answer(request, answer).model_dump(exclude_none=True)["data"]
    assert [(row["index"], row["score"], row.get("note")) for row in data] == [
        (0, pytest.approx(0.2), None),
        (1, 0.0, "the document has no text"),
        (2, 1.0, None),
    ]
