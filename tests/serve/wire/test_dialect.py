"""What holds for every dialect."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gen_rerank import Distribution
from serve.question import Answer, Blank, Question, Refusal
from serve.wire import (
    BATCH,
    COHERE,
    COMPLETIONS,
    DECISIONS,
    JINA,
    SCORE,
    SYSTEMONE,
    TEI,
    VLLM,
    Dialect,
    parse,
    rerank_dialect,
)

DIALECTS = [JINA, VLLM, COHERE, TEI, SCORE, COMPLETIONS, DECISIONS, SYSTEMONE, BATCH]
JSON: TypeAdapter[Any] = TypeAdapter(Any)

texts = st.text(max_size=20) | st.sampled_from(["Query: a\nProduct: b", 'Query: a\nProduct: {"title": "b"}', " ", "\0"])
words = st.text("abc 🙂\0\n", min_size=1, max_size=9).filter(str.strip)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
objects = st.dictionaries(
    st.sampled_from(["text", "price", "attributes", "brand", "name"]) | texts, anything, max_size=4
)
products = words | st.builds(lambda title, fields: fields | {"title": title}, words, objects)
options = {
    "rank_fields": st.just(["title", "name", "attributes"]),
    "top_n": st.integers(1, 5),
    "min_score": st.floats(0, 1),
    "min_tier": st.sampled_from(["exact", "close", "irrelevant"]),
    "return_rank_confidence": st.booleans(),
    "return_quantiles": st.lists(st.floats(0, 1), max_size=3),
    "return_distribution": st.booleans(),
    "return_documents": st.booleans(),
    "return_text": st.booleans(),
    "max_tokens": st.just(1),
    "logprobs": st.integers(0, 11),
    "model": words,
    "truncate": st.booleans(),
    "raw_scores": st.booleans(),
}
instructions = words | products | st.builds(lambda text: [{"type": "input_text", "text": text}], words)
about = words | st.builds(lambda product: {"product": product}, products)
questions = st.one_of(
    st.fixed_dictionaries({"type": st.just("predicate"), "instructions": instructions}, optional={"name": words}),
    st.fixed_dictionaries(
        {
            "type": st.just("score"),
            "instructions": instructions,
            "levels": st.lists(st.fixed_dictionaries({"label": texts}), min_size=2, max_size=10),
            "criteria": st.lists(anything, min_size=2, max_size=10),
        }
    ),
    st.builds(
        lambda values: {"type": "choice", "instructions": "a", "choices": [{"value": value} for value in values]},
        st.sampled_from([["exact", "close", "irrelevant"], ["a", "b"], [True, "true"]]),
    ),
    st.fixed_dictionaries({"type": st.just("noul")}, optional={"instructions": instructions}),
)
# Right for every dialect at once, since each ignores what it does not know; then with some faults.
right = st.fixed_dictionaries(
    {
        "query": words,
        "queries": words,
        "documents": st.lists(products, min_size=1, max_size=4),
        "texts": st.lists(words, min_size=1, max_size=4),
        "prompt": words | st.lists(st.builds("Query: a\nProduct: {}".format, words) | texts, min_size=1, max_size=3),
        "input": about | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": words}), min_size=1),
        "state": about | st.builds(lambda query, product: {"query": query, "document": product}, words, products),
        "questions": st.lists(questions, min_size=1, max_size=3) | st.dictionaries(texts, questions, min_size=1),
        "requests": st.lists(
            st.fixed_dictionaries(
                {"query": words}, optional=options | {"documents": st.lists(products, min_size=1, max_size=3)}
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional=options,
)
faults = st.dictionaries(
    st.sampled_from(
        [*["query", "documents", "texts", "queries", "prompt", "requests", "input", "state", "questions"], *options]
    ),
    anything,
)
bodies = right | st.builds(lambda body, wrong: body | wrong, right, faults) | anything
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
@settings(deadline=None)
@given(body=bodies)
@example(
    body={"query": "q", "documents": [{"title": "a", "x": deep}], "rank_fields": ["title"], "return_documents": True}
)
@example(body={"query": "q", "documents": [{"title": "a", "attributes": {"x": deep}}]})
@example(body={"query": "q", "documents": [{"a": 10**4000, "b": 1}], "rank_fields": ["a"], "return_documents": True})
@example(body={"query": "q", "texts": ["a"], "queries": "q", "text_2": [{"title": 10**4000}]})
@example(
    body={"input": {"product": {"title": "a", "x": deep}}, "questions": [{"type": "predicate", "instructions": "q"}]}
)
@example(
    body={"state": {"query": "q", "product": "a"}, "questions": {"": {"type": "score", "criteria": [10**4000, deep]}}}
)
def test_any_body_is_answered_or_refused(dialect: Dialect[Any], body: Any) -> None:
    asked = asked_or_refused(dialect, json.dumps(body).encode())
    if isinstance(asked, Refusal):
        assert "\n" not in asked.sentence
        assert len(asked.sentence) < 250
        assert dialect.errors.status(asked) in (400, 422)
        assert json.dumps(dialect.errors.error(asked))
        return
    request, question = asked
    assert question.items
    scored = Distribution(np.random.default_rng(len(question.items)).dirichlet(np.ones(11), len(question.items)))
    blanks = frozenset(i for i, item in enumerate(question.items) if isinstance(item, Blank))
    answer = dialect.answer(request, Answer("tiny", scored, 7, 0, 0, {"exact": 0.8, "close": 0.4}, blanks))
    said = json.loads(JSON.dump_json(answer, exclude_none=not dialect.nulls))
    assert dialect.response.model_validate(said)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for dialect in DIALECTS:
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
    ("content", "dialect"),
    [
        ({"query": "q", "texts": ["a"]}, TEI),
        ({"texts": None, "documents": ["a"]}, TEI),
        ({"query": "q", "documents": ["a"]}, VLLM),
        ({"query": "texts"}, VLLM),
        (["texts"], VLLM),
        ("texts", VLLM),
        (None, VLLM),
    ],
)
def test_texts_tell_tei_from_vllm(content: Any, dialect: Dialect[Any]) -> None:
    assert rerank_dialect(content) is dialect


@pytest.mark.parametrize("dialect", [JINA, VLLM, COHERE, BATCH])
@pytest.mark.parametrize(("best", "nothing"), [(3, True), (4, False)])
def test_rerank_shapes_say_that_nothing_matches(dialect: Dialect[Any], best: int, nothing: bool, reply: Any) -> None:
    one = {"query": "desk", "documents": ["a", "b"], "min_tier": "close", "return_rank_confidence": True}
    body = {"requests": [one]} if dialect is BATCH else one
    assert parse(json.dumps(body).encode(), dialect.request).question().needs_tiers
    answered = reply(dialect, body, [0, best])
    said, results = (
        (answered["verdicts"][0], answered["results"][0]) if dialect is BATCH else (answered, answered["results"])
    )
    assert said["no_good_match"] is nothing
    assert said.get("rank_confidence") == (None if nothing else 1.0)
    assert [row["index"] for row in results] == ([] if nothing else [1])
    plain = {"query": "desk", "documents": ["a", "b"]}
    untiered = reply(dialect, {"requests": [plain]} if dialect is BATCH else plain, [0, best], {})
    assert "no_good_match" not in json.dumps(untiered)


def test_teis_bare_array_says_so_in_a_header() -> None:
    def headers(best: int, thresholds: dict[str, float]) -> dict[str, str]:
        return TEI.header_values(Answer("tiny", Distribution(np.eye(11)[[0, best]]), 0, 0, 0, thresholds))

    tiers = {"exact": 0.8, "close": 0.4}
    assert headers(3, tiers) == {"X-No-Good-Match": "true"}
    assert headers(4, tiers) == {"X-No-Good-Match": "false"}
    assert headers(4, {}) == JINA.header_values(Answer("tiny", Distribution(np.eye(11)[[0]]), 0, 0, 0, tiers)) == {}
