from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gen_rerank import Distribution
from serve.question import Answer, Blank
from serve.wire import DECISIONS, parse

TIERS = ["exact", "close", "irrelevant"]
SURE = {"score": pytest.approx(0.7), "std": pytest.approx(0, abs=1e-6), "tier": "close"}


def predicate(**fields: Any) -> dict[str, Any]:
    return {"type": "predicate", "instructions": "Oak desk"} | fields


def score(*labels: str, **fields: Any) -> dict[str, Any]:
    return {"type": "score", "instructions": "Oak desk", "levels": [{"label": each} for each in labels]} | fields


def choice(*values: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "choice", "instructions": "Oak desk", "choices": [{"value": each} for each in values]} | fields


def body(*questions: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": "desk", "questions": list(questions)}


def test_each_type_by_hand(reply: Any) -> None:
    questions = [
        predicate(),
        predicate(name="exact"),
        score("no", "half", "yes", name="s"),
        choice("irrelevant", "close", "exact"),
    ]
    given = reply(DECISIONS, body(*questions), [7, 7, 7, 7])
    yes, no, on_levels, of_tiers = given["answers"]
    assert yes == {"type": "predicate", "probability": 1.0, "gen_rerank": SURE}
    assert no == {"type": "predicate", "name": "exact", "probability": 0.0, "gen_rerank": SURE}
    assert on_levels == {
        "type": "score",
        "name": "s",
        "score": pytest.approx(1.4),
        "confidence": pytest.approx(0.4),
        "probabilities": [
            {"value": 0, "label": "no", "probability": 0.0},
            {"value": 1, "label": "half", "probability": pytest.approx(0.6)},
            {"value": 2, "label": "yes", "probability": pytest.approx(0.4)},
        ],
        "gen_rerank": SURE,
    }
    assert of_tiers == {
        "type": "choice",
        "choice": "close",
        "confidence": 1.0,
        "probabilities": [
            {"value": "irrelevant", "probability": 0.0},
            {"value": "close", "probability": 1.0},
            {"value": "exact", "probability": 0.0},
        ],
        "gen_rerank": SURE,
    }
    assert given["model"] == "tiny"


@pytest.mark.parametrize("count", range(2, 11))
def test_the_score_is_the_mean_of_the_places(count: int, reply: Any) -> None:
    (answer,) = reply(DECISIONS, body(score(*"abcdefghij"[:count])), [9])["answers"]
    shares = [each["probability"] for each in answer["probabilities"]]
    assert sum(shares) == pytest.approx(1)
    assert answer["score"] == pytest.approx(sum(i * share for i, share in enumerate(shares)))
    assert answer["score"] == pytest.approx(0.9 * (count - 1))


def test_a_choice_of_anything_else_is_refused_alone() -> None:
    request = parse(json.dumps(body(choice("red", "blue", name="colour"), predicate())).encode(), DECISIONS.request)
    (blank, pair) = request.question().items
    assert (blank, pair.query) == (Blank(), "desk")
    answer = Answer("tiny", Distribution(np.eye(11)[[0, 9]]), 40, 0, 0, {}, frozenset({0}), cached_tokens=30)
    said = DECISIONS.answer(request, answer).model_dump()
    assert said["answers"][0] == {"type": "refusal", "name": "colour"}
    assert said["answers"][1]["probability"] == 1.0
    assert said["answers"][1]["name"] is None
    assert said["usage"] == {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 40,
    }


def test_the_sdk_reads_the_answer() -> None:
    openai_types = pytest.importorskip("openai.types")
    questions = [predicate(), score("no", "yes"), choice(*TIERS), choice("a", "b")]
    request = parse(json.dumps(body(*questions)).encode(), DECISIONS.request)
    answer = Answer("tiny", Distribution(np.eye(11)[[9, 9, 9, 0]]), 40, 0, 0, {}, frozenset({3}))
    read = openai_types.Decision.model_validate(DECISIONS.answer(request, answer).model_dump())
    assert [each.type for each in read.answers] == ["predicate", "score", "choice", "refusal"]
    assert read.answers[2].choice == "exact"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"type": "rank", "instructions": "a"}, "questions.0: the type must be predicate, score or choice"),
        ({"instructions": "a"}, "questions.0: the type must be predicate, score or choice"),
        ({"type": "predicate"}, "questions.0.instructions is missing"),
        (predicate(instructions=5), "questions.0.instructions is neither a string nor an object nor a list of objects"),
        (predicate(threshold=0.7), "questions.0.threshold: input should be 'exact' or 'close'"),
        (score("a"), "questions.0.levels has 1 entries; give at least 2"),
        (score(*"abcdefghijk"), "questions.0.levels has 11 entries; the limit is 10"),
        (score("a", "b", levels=[{"description": "a"}]), "questions.0.levels.0.label is missing"),
        (choice("a"), "questions.0.choices has 1 entries; give at least 2"),
        (choice(*map(str, range(256))), "questions.0.choices has 256 entries; the limit is 255"),
        (choice("a", "a"), "questions.0.choices has a value twice"),
        (choice("a", 5), "questions.0.choices.1.value is neither a string nor true or false"),
    ],
)
def test_what_is_wrong_with_a_question(question: dict[str, Any], words: str, refused: Any) -> None:
    assert words in refused(DECISIONS, body(question)).sentence


def test_limits_are_reached(ask: Any) -> None:
    questions = [score(*"abcdefghij"), score("a", "b"), choice(*map(str, range(255))), choice("true", True)]
    assert len(ask(DECISIONS, body(*questions)).items) == 4


def test_what_changes_nothing_is_ignored(ask: Any) -> None:
    ignored = {"safety_identifier": "x", "prompt_cache_key": "y", "prompt_cache_options": {"ttl": "30m"}}
    assert ask(DECISIONS, body(predicate()) | ignored) == ask(DECISIONS, body(predicate()))


@pytest.mark.parametrize("field", ["input", "questions"])
def test_what_is_missing(field: str, refused: Any) -> None:
    asked = body(predicate())
    del asked[field]
    assert refused(DECISIONS, asked).sentence == f"{field} is missing"
