"""What vLLM's clients may ask beside a score: honoured, or refused by name, in each shape that has it."""

from __future__ import annotations

from typing import Any

import pytest

from gen_rerank.prompting.limits import NO_LIMITS, Limits
from serve.question import Blank
from serve.wire import BATCH, COHERE, JINA, SCORE, TEI, VLLM, parse

# One body that each shape reads, since each ignores what it does not know.
GOOD: dict[str, Any] = {
    "query": "red desk",
    "queries": "red desk",
    "documents": ["Red desk", "Lamp"],
    "texts": ["Red desk", "Lamp"],
    "requests": [{"query": "red desk"}],
}
SHAPES = [JINA, VLLM, COHERE, SCORE, BATCH]
in_each = pytest.mark.parametrize("dialect", SHAPES, ids=lambda dialect: dialect.name)


@in_each
@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({}, NO_LIMITS),
        ({"max_tokens_per_query": 0, "truncate_prompt_tokens": -1}, NO_LIMITS),
        ({"max_tokens_per_query": None, "truncate_prompt_tokens": None, "max_tokens_per_doc": None}, NO_LIMITS),
        ({"max_tokens_per_query": 7, "max_tokens_per_doc": 9, "truncate_prompt_tokens": 64}, Limits(9, 7, 64)),
        ({"truncate_prompt_tokens": 0}, Limits(prompt_tokens=0)),  # the checkpoint says that it leaves no room
    ],
)
def test_limits_on_tokens(dialect: Any, fields: dict[str, Any], limits: Limits, ask: Any) -> None:
    assert ask(dialect, GOOD | fields).limits == limits


@pytest.mark.parametrize("dialect", [JINA, VLLM])
def test_jinas_names_mean_the_same_and_vllms_go_first(dialect: Any, ask: Any) -> None:
    jinas = {"max_doc_length": 5, "max_query_length": 6}
    assert ask(dialect, GOOD | jinas).limits == Limits(5, 6)
    assert ask(dialect, GOOD | jinas | {"max_tokens_per_doc": 1, "max_tokens_per_query": 2}).limits == Limits(1, 2)
    assert ask(dialect, GOOD | {"max_query_length": 0}).limits == NO_LIMITS


@pytest.mark.parametrize("dialect", [JINA, VLLM])
def test_truncation_false_refuses_what_does_not_fit(dialect: Any, ask: Any) -> None:
    assert [ask(dialect, GOOD | {"truncation": given}).refuse_cut for given in (None, True, False)] == [0, 0, 1]


@in_each
def test_the_instruction_of_the_template_goes_first(dialect: Any, ask: Any) -> None:
    def told(**fields: Any) -> str | None:
        instruction: str | None = ask(dialect, GOOD | fields).instruction
        return instruction

    assert told(instruction="A.", chat_template_kwargs={"instruction": "B.", "enable_thinking": False}) == "B."
    assert told(instruction="A.", chat_template_kwargs={"enable_thinking": False}) == "A."
    assert told(instruction="A.", chat_template_kwargs={"instruction": None}) == "A."
    assert told(chat_template_kwargs={"instruction": "B."}) == "B."
    assert told(chat_template_kwargs=None) is None


@in_each
def test_what_changes_no_score_is_ignored(dialect: Any, ask: Any) -> None:
    ignored = {
        "user": "u", "request_id": "r", "priority": 3, "cache_salt": "s", "padding": "max_length",
        "mm_processor_kwargs": {"a": 1}, "media_io_kwargs": {}, "add_special_tokens": False, "max_chunks_per_doc": 3,
        "overlap_tokens": 2, "return_text": True,
    }  # fmt: skip
    right = {"use_activation": True, "activation": None, "softmax": True, "truncation_side": "right"}
    assert ask(dialect, GOOD | ignored | right | {"chat_template": "", "raw_scores": False}) == ask(dialect, GOOD)


@in_each
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"use_activation": False}, "use_activation must be true or absent: scores are means"),
        ({"activation": False}, "activation must be true or absent"),
        ({"softmax": False}, "softmax must be true or absent"),
        ({"raw_scores": True}, "raw_scores must be false or absent"),
        ({"truncation_side": "left"}, "truncation_side must be right or absent: texts are cut at their end"),
        ({"chat_template": "{{ query }}"}, "chat_template must be absent: the checkpoint has a template of its own"),
        ({"truncation_side": "middle"}, "truncation_side: input should be 'left' or 'right', but it is 'middle'"),
        ({"use_activation": "maybe"}, "use_activation: input should be a valid boolean"),
        ({"max_tokens_per_query": -1}, "max_tokens_per_query: input should be greater than or equal to 0"),
        ({"max_tokens_per_query": 10**4000}, "max_tokens_per_query"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens: input should be greater than or equal to -1"),
        ({"truncate_prompt_tokens": 1.5}, "truncate_prompt_tokens"),
        ({"chat_template_kwargs": "B."}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"instruction": 3}}, "chat_template_kwargs.instruction"),
        ({"empty_documents": "first"}, "empty_documents: input should be 'refuse' or 'last'"),
    ],
)
def test_what_is_not_done_is_refused_by_name(dialect: Any, fields: dict[str, Any], words: str, refused: Any) -> None:
    refusal = refused(dialect, GOOD | fields)
    assert words in refusal.sentence
    assert dialect.errors.status(refusal) == (400 if dialect in (VLLM, SCORE) else 422)


@pytest.mark.parametrize("dialect", [JINA, VLLM])
def test_embeddings_are_refused(dialect: Any, refused: Any) -> None:
    assert "return_embeddings must be false" in refused(dialect, GOOD | {"return_embeddings": True}).sentence


@pytest.mark.parametrize("dialect", [*SHAPES, TEI], ids=lambda dialect: dialect.name)
def test_a_long_query_and_instruction_are_taken(dialect: Any, ask: Any) -> None:
    """The prompt cuts them."""
    long = "desk " * 100_000
    body = GOOD | {"query": long, "queries": long, "requests": [{"query": long}], "instruction": long}
    question = ask(dialect, body)
    assert {item.query for item in question.items} == {long}
    assert question.instruction == long


@pytest.mark.parametrize("dialect", [*SHAPES, TEI], ids=lambda dialect: dialect.name)
def test_documents_without_text_are_refused_or_last(dialect: Any, ask: Any, refused: Any) -> None:
    bad = ["", "Red desk", " \u200b"] if dialect is TEI else ["", "Red desk", {"text": " "}]
    body = GOOD | {"documents": bad, "texts": bad}
    assert refused(dialect, body).sentence.endswith(".0 has no text")
    assert refused(dialect, body | {"empty_documents": "refuse"}).sentence.endswith(".0 has no text")
    items = ask(dialect, body | {"empty_documents": "last"}).items
    assert [isinstance(item, Blank) for item in items] == [True, False, True]
    # As the server was started, where the request does not say.
    request = parse(b'{"query": "q", "queries": "q", "documents": [""], "texts": [""], "requests": [{"query": "q"}]}',
                    dialect.request)  # fmt: skip
    assert request.question(empty_documents="last").items == [Blank()]
    strict = request.model_copy(update={"empty_documents": "refuse"})
    with pytest.raises(Exception, match="has no text"):
        strict.question(empty_documents="last")


@pytest.mark.parametrize("dialect", [JINA, VLLM, COHERE, BATCH], ids=lambda dialect: dialect.name)
def test_other_faults_are_refused_all_the_same(dialect: Any, refused: Any) -> None:
    body = GOOD | {"documents": ["", {"title": "a", "colour": "red"}], "empty_documents": "last"}
    assert "documents.1 has an unknown field" in refused(dialect, body).sentence
