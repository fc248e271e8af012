"""What holds for every dialect."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gen_rerank import Distribution
from serve.question import Answer, Question, Refusal
from serve.wire import (
    BATCH,
    COHERE,
    COMPLETIONS,
    JINA,
    SCORE,
    TEI,
    Dialect,
    error_for,
    parse,
    rerank_dialect,
    status_for,
)

DIALECTS = [JINA, COHERE, TEI, SCORE, COMPLETIONS, BATCH]
JSON: TypeAdapter[Any] = TypeAdapter(Any)

texts = st.text(max_size=20) | st.sampled_from(["Query: a\nProduct: b", 'Query: a\nProduct: {"title": "b"}', " ", "\0"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
objects = st.dictionaries(
    st.sampled_from(["title", "text", "price", "attributes", "brand", "name", "query", "documents"]) | texts,
    scalars | st.dictionaries(texts, scalars, max_size=2) | st.lists(scalars, max_size=2),
    max_size=4,
)
documents = st.lists(texts | objects | scalars, max_size=4)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
bodies = (
    st.fixed_dictionaries(
        {},
        optional={
            "query": texts | anything,
            "documents": documents | texts | objects | anything,
            "texts": st.lists(texts, max_size=4) | anything,
            "queries": texts | st.lists(texts, max_size=4) | anything,
            "text_2": documents | texts | anything,
            "prompt": texts | st.lists(texts, max_size=3) | anything,
            "requests": st.lists(objects, max_size=3) | anything,
            "rank_fields": st.lists(texts | st.sampled_from(["title", "name", "attributes"]), max_size=3) | anything,
            "top_n": st.integers(-1, 5) | anything,
            "min_score": st.floats(-1, 2) | anything,
            "return_quantiles": st.lists(st.floats(0, 1), max_size=3) | anything,
            "return_distribution": st.booleans() | anything,
            "return_documents": st.booleans() | anything,
            "max_tokens": st.sampled_from([None, 1]) | anything,
            "logprobs": st.integers(-1, 12) | anything,
            "model": texts | anything,
            "instruction": texts | anything,
            "truncate": st.booleans() | anything,
            "raw_scores": st.booleans() | anything,
        },
    )
    | anything
)
deep: Any = []
for _ in range(180):
    deep = [deep]


def asked_or_refused(dialect: Dialect[Any], body: bytes) -> tuple[Any, Question] | Refusal:
    try:
        request = parse(body, dialect.request)
        return request, request.question()
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(body=bodies)
@example(
    body={"query": "q", "documents": [{"title": "a", "x": deep}], "rank_fields": ["title"], "return_documents": True}
)
@example(body={"query": "q", "documents": [{"title": "a", "attributes": {"x": deep}}]})
@example(body={"query": "q", "documents": [{"a": 10**4000, "b": 1}], "rank_fields": ["a"], "return_documents": True})
@example(body={"query": "q", "texts": ["a"], "queries": "q", "text_2": [{"title": 10**4000}]})
def test_any_body_is_answered_or_refused(dialect: Dialect[Any], body: Any) -> None:
    asked = asked_or_refused(dialect, json.dumps(body).encode())
    if isinstance(asked, Refusal):
        assert "\n" not in asked.sentence
        assert len(asked.sentence) < 250
        assert dialect.status(asked) in (400, 422)
        assert json.dumps(dialect.error(asked))
        return
    request, question = asked
    assert question.items
    scored = Distribution(np.random.default_rng(len(question.items)).dirichlet(np.ones(11), len(question.items)))
    answer = dialect.answer(request, Answer("tiny", scored, 7, 0, 0, {"exact": 0.8, "close": 0.4}))
    said = json.loads(JSON.dump_json(answer, exclude_none=True))
    assert dialect.response.model_validate(said)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for dialect in (*DIALECTS, rerank_dialect(body)):
        assert isinstance(asked_or_refused(dialect, body), Refusal)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_field_is_described_for_openapi(dialect: Dialect[Any]) -> None:
    assert dialect.response.model_json_schema(mode="serialization")
    schema = dialect.request.model_json_schema()
    required = set(schema["required"])
    for name, field in schema["properties"].items():
        assert field["description"], name
        assert "examples" in field or name not in required, name
    example_body = {name: schema["properties"][name]["examples"][0] for name in required}
    if dialect is BATCH:
        example_body["documents"] = ["Oak desk"]
    assert parse(json.dumps(example_body).encode(), dialect.request).question().items


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (b'{"query": "q", "texts": ["a"]}', TEI),
        (b'{"query": "q", "documents": ["a"]}', JINA),
        (b'{"query": "texts"}', JINA),
        (b'["texts"]', JINA),
        (b"{", JINA),
    ],
)
def test_texts_tell_tei_from_jina(body: bytes, dialect: Dialect[Any]) -> None:
    assert rerank_dialect(body) is dialect


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/rerank", {"detail", "message"}),
        ("/v1/rerank/batch", {"detail", "message"}),
        ("/v2/rerank", {"message"}),
        ("/rerank", {"error", "error_type", "detail", "message"}),
        ("/v1/score", {"error"}),
        ("/score", {"error"}),
        ("/v1/completions", {"error"}),
        ("/v1/models", {"error"}),
        ("/v1/load_lora_adapter", {"error"}),
        ("/nowhere", {"detail"}),
    ],
)
def test_errors_before_the_body_is_read(path: str, fields: set[str]) -> None:
    refusal = Refusal(413, "too large")
    assert error_for(path)(refusal).keys() == fields
    assert status_for(path)(refusal) == 413
    assert status_for(path)(Refusal(422, "wrong")) == (400 if fields == {"error"} else 422)
