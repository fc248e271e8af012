from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gen_rerank import Distribution
from serve.question import Answer, Blank
from serve.wire import BATCH, JINA, parse

GOOD: dict[str, Any] = {
    "requests": [
        {"query": "lamp"},
        {"query": "desk", "documents": ["Desk", {"title": "Sofa"}, {"text": "Oak desk"}], "top_n": 2},
        {"query": "sofa", "min_score": 0.95},
    ],
    "documents": ["Red desk", "Lamp"],
}


def test_entries_come_one_after_the_other(ask: Any) -> None:
    question = ask(BATCH, GOOD | {"model": "shop", "instruction": "Rate.", "max_tokens_per_doc": 9})
    assert [(pair.query, pair.product.title) for pair in question.items] == [
        ("lamp", "Red desk"),
        ("lamp", "Lamp"),
        ("desk", "Desk"),
        ("desk", "Sofa"),
        ("desk", "Oak desk"),
        ("sofa", "Red desk"),
        ("sofa", "Lamp"),
    ]
    assert (question.model, question.instruction, question.limits.document_tokens) == ("shop", "Rate.", 9)


def test_shared_documents_become_products_once(ask: Any) -> None:
    """Also for entries that read other keys of them, each kind once."""
    documents = [{"title": "Oak desk", "colour": "brown"}, {"title": "Lamp", "colour": "red"}]
    entries = [{"query": query, "rank_fields": ["title", *more]} for query in "ab" for more in ([], ["colour"])]
    items = ask(BATCH, {"documents": documents, "requests": entries}).items
    assert [item.query for item in items] == ["a"] * 4 + ["b"] * 4
    assert [id(item.product) for item in items[:4]] == [id(item.product) for item in items[4:]]
    assert len({id(item.product) for item in items}) == 4
    assert items[0].product.attributes != items[2].product.attributes


def test_each_entry_gets_the_ranking_it_would_get_alone(reply: Any) -> None:
    bins = [[1, 9], [4, 2, 4], [0, 9]]
    answer = reply(BATCH, GOOD, [k for row in bins for k in row])
    alone = [
        reply(JINA, {"documents": GOOD["documents"]} | entry, row)["results"]
        for entry, row in zip(GOOD["requests"], bins, strict=True)
    ]
    assert answer["results"] == alone
    assert [[result["index"] for result in results] for results in answer["results"]] == [[1, 0], [0, 2], []]
    assert (answer["model"], answer["usage"]["total_tokens"]) == ("tiny", 70)
    assert answer["id"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"requests": []}, "requests is empty"),
        ({"requests": [{"query": "a"}]}, "requests.0.documents is missing, and there are no shared documents"),
        ({"requests": [{"query": "a"}], "documents": []}, "documents is empty"),
        ({"requests": [{"query": "a", "documents": []}], "documents": ["a"]}, "requests.0.documents is empty"),
        ({"requests": [{"query": "a"}, {"query": ""}], "documents": ["a"]}, "requests.1.query has no text"),
        (
            {"requests": [{"query": "a"}] * 33, "documents": ["a"] * 32},
            "requests has 1056 documents; the limit is 1024",
        ),
        ({"requests": [{"query": "a", "documents": ["a", {"x": 1}]}]}, "requests.0.documents.1 has an unknown field"),
        ({"requests": [{"query": "a", "top_n": 0}], "documents": ["a"]}, "requests.0.top_n"),
        ({"requests": {"query": "a"}}, "requests: input should be a valid list"),
    ],
)
def test_bad_requests(body: dict[str, Any], words: str, refused: Any) -> None:
    assert words in refused(BATCH, body).sentence


def test_documents_without_text_are_last_in_each_ranking_that_has_them() -> None:
    body = {
        "requests": [{"query": "q"}, {"query": "r", "documents": ["b"]}, {"query": "s"}],
        "documents": ["", "a"],
        "empty_documents": "last",
    }
    request = parse(json.dumps(body).encode(), BATCH.request)
    question = request.question()
    assert [getattr(item, "query", None) for item in question.items] == [None, "q", "r", None, "s"]
    assert question.pairs == 3
    blanks = frozenset(i for i, item in enumerate(question.items) if isinstance(item, Blank))
    answer = Answer("tiny", Distribution(np.eye(11)[[0, 0, 4, 0, 9]]), 70, 0, 0, {}, blanks=blanks)
    results = BATCH.answer(request, answer).model_dump(exclude_none=True)["results"]
    said = [[(row["index"], row.get("note")) for row in ranking] for ranking in results]
    note = "the document has no text"
    assert said == [[(1, None), (0, note)], [(0, None)], [(1, None), (0, note)]]
