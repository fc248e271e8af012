from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_rerank import Distribution
from gen_rerank.bins import BIN_TOKENS, BIN_VALUES
from gen_rerank.data.records import Pair
from serve.question import Answer, RenderedPrompt
from serve.wire import COMPLETIONS, parse
from serve.wire.completions import logprobs

NAMED = "Query: red desk\nProduct: Red writing desk"


@pytest.mark.parametrize(
    ("prompt", "title", "brand", "instruction"),
    [
        (NAMED, "Red writing desk", None, None),
        ("Query:red desk\nDocument:Oak\ndesk\n", "Oak\ndesk", None, None),
        ('Instruction: Rate. \nQuery: red desk\nProduct: {"title": "Oak",\n "brand": "B"}', "Oak", "B", "Rate."),
        ('Query: red desk\nProduct: {"text": "Oak"}', "Oak", None, None),
    ],
)
def test_named_parts(prompt: str, title: str, brand: str | None, instruction: str | None, ask: Any) -> None:
    question = ask(COMPLETIONS, {"prompt": prompt, "max_tokens": 1, "temperature": 0.7, "model": "shop"})
    (pair,) = question.items
    assert (pair.query, pair.product.title, pair.product.brand) == ("red desk", title, brand)
    assert (question.instruction, question.model) == (instruction, "shop")


@pytest.mark.parametrize(
    "prompt", ["<|im_start|>system\nRate.", "Query: red desk", "Product: a\nQuery: b", "", "\n" + NAMED]
)
def test_anything_else_is_a_rendered_prompt(prompt: str, ask: Any) -> None:
    assert ask(COMPLETIONS, {"prompt": prompt}).items == [RenderedPrompt(prompt)]


def test_options_that_change_nothing_are_taken(ask: Any) -> None:
    nothing = {"suffix": "", "logit_bias": {}, "truncate_prompt_tokens": -1, "temperature": 0, "seed": 3, "user": "u"}
    assert ask(COMPLETIONS, {"prompt": NAMED} | nothing) == ask(COMPLETIONS, {"prompt": NAMED})


def test_both_forms_in_one_request(ask: Any) -> None:
    question = ask(COMPLETIONS, {"prompt": ["<|im_start|>", f"Instruction: Rate.\n{NAMED}"]})
    assert [type(item) for item in question.items] == [RenderedPrompt, Pair]
    assert question.instruction == "Rate."


def test_the_answer_is_a_bin_token_with_its_logprobs(reply: Any) -> None:
    answer = reply(COMPLETIONS, {"prompt": [NAMED, "<|im_start|>"], "max_tokens": 1, "logprobs": 2}, [9, 0])
    assert answer.pop("id").startswith("cmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "object": "text_completion",
        "model": "tiny",
        "usage": {"prompt_tokens": 70, "completion_tokens": 2, "total_tokens": 72},
        "choices": [choice(0, 9, 0, "exact"), choice(1, 0, 1, "irrelevant")],
    }


def choice(index: int, best: int, second: int, tier: str) -> dict[str, Any]:
    return {
        "index": index,
        "text": BIN_TOKENS[best],
        "finish_reason": "length",
        "logprobs": {
            "tokens": [BIN_TOKENS[best]],
            "token_logprobs": [0.0],
            "top_logprobs": [{BIN_TOKENS[best]: 0.0, BIN_TOKENS[second]: -9999.0}],
            "text_offset": [0],
        },
        "gen_rerank": {"score": pytest.approx(best / 10), "std": pytest.approx(0, abs=1e-6), "tier": tier},
    }


def test_without_logprobs_there_are_none(reply: Any) -> None:
    assert "logprobs" not in reply(COMPLETIONS, {"prompt": NAMED}, [3])["choices"][0]
    assert reply(COMPLETIONS, {"prompt": NAMED, "logprobs": 0}, [3])["choices"][0]["logprobs"]["top_logprobs"] == [{}]


@settings(deadline=None)
@given(arrays(np.float64, 11, elements=st.floats(0, 1)).filter(lambda row: row.sum() > 1e-3))
def test_a_client_computes_the_score_from_the_logprobs(weights: Any) -> None:
    scored = Distribution((weights / weights.sum())[None])
    answer = Answer("tiny", scored, 0, 0, 0, {})
    request = parse(b'{"prompt": "x", "logprobs": 11}', COMPLETIONS.request)
    (said,) = COMPLETIONS.answer(request, answer).choices
    (top,) = said.logprobs.top_logprobs
    assert list(top.values()) == sorted(top.values(), reverse=True)
    assert said.text == next(iter(top))
    probabilities = [math.exp(top[token]) for token in BIN_TOKENS]
    assert probabilities == pytest.approx(scored.probabilities[0].tolist(), abs=1e-6)
    assert float(np.dot(probabilities, BIN_VALUES)) == pytest.approx(said.gen_rerank.score, abs=1e-6)


def test_ties_go_to_the_lower_bin() -> None:
    assert logprobs([1 / 11] * 11, 3).top_logprobs == [dict.fromkeys(BIN_TOKENS[:3], pytest.approx(-math.log(11)))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_tokens": 16}, "max_tokens must be 1 or absent"),
        ({"n": 2}, "n must be 1"),
        ({"best_of": 3}, "best_of must be 1"),
        ({"stream": True}, "stream must be false"),
        ({"echo": True}, "echo must be false"),
        ({"suffix": "x"}, 'suffix must be "" or absent'),
        ({"logit_bias": {"5": 1}}, "logit_bias must be {} or absent"),
        ({"truncate_prompt_tokens": 64}, "truncate_prompt_tokens must be -1 or absent"),
        ({"logprobs": 12}, "logprobs must be from 0 to 11"),
        ({"logprobs": -1}, "logprobs must be from 0 to 11"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": 3}, "prompt is neither a string nor a list of strings"),
        ({"prompt": ["x"] * 1025}, "prompt has 1025 entries"),
        ({"prompt": "x" * 100_001}, "prompt.0 has 100001 characters"),
        ({"prompt": "Query: \nProduct: a"}, "prompt.0.query has no text"),
        ({"prompt": "Query: a\nProduct:"}, "prompt.0.product has no text"),
        ({"prompt": 'Query: a\nProduct: {"title"'}, "prompt.0.product is not valid JSON"),
        ({"prompt": 'Query: a\nProduct: {"brand": "B"}'}, "prompt.0.product has no title"),
        ({"prompt": [NAMED, f"Instruction: Rate.\n{NAMED}"]}, "the prompts have different instructions"),
    ],
)
def test_bad_requests_are_400(changes: dict[str, Any], words: str, refused: Any) -> None:
    refusal = refused(COMPLETIONS, {"prompt": NAMED} | changes)
    assert words in refusal.sentence
    assert COMPLETIONS.errors.status(refusal) == COMPLETIONS.errors.error(refusal)["error"]["code"] == 400
