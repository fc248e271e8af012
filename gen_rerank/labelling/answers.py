"""What a judge's server says becomes a relevance, a distribution over the grades, or a fault in a few words.

Each reading has its request and its answer here: a grade in a JSON schema, the log-probabilities of one token, a score
question of the Decisions API. Sending is `asking`'s.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from gen_rerank.data.records import Pair
from gen_rerank.labelling.journal import JudgeAnswer
from gen_rerank.labelling.judges import Judge
from gen_rerank.labelling.rubrics import Rubric, chat_messages, quoted_pair

_TOP = 20  # log-probabilities of the first token; the most that servers give
# With less probability than this on the grades, the model was about to say something else.
LEAST_MASS = 0.5
_GRADE_TOKENS = 16  # room for {"grade": 3}
# Servers without schemas let models put a fence around it.
_OBJECT = re.compile(r"\{[^{}]*\}")
_REMINDER = "The last answer could not be read. Give nothing but the grade."


def request_body(judge: Judge, pair: Pair, attempt: int) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        judge: who is asked.
        pair: about which pair.
        attempt: 0, or 1 where the first answer could not be read.
    """
    if judge.reading == "decisions":
        return _decision_body(judge, pair)
    reminders = [_REMINDER] if attempt else []
    grades = judge.rubric.grades
    if judge.reading == "json":
        answer = f'Answer with JSON alone: {{"grade": N}}, where N is one of {", ".join(grades)}.'
        schema = {
            "type": "object",
            "properties": {"grade": {"type": "integer", "enum": list(range(len(grades)))}},
            "required": ["grade"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "grade", "strict": True, "schema": schema}}
        own: dict[str, Any] = {"response_format": form, "max_tokens": _GRADE_TOKENS}
    else:
        answer = f"Answer with one digit alone: {', '.join(grades)}."
        own = {"logprobs": True, "top_logprobs": _TOP, "max_tokens": 1}
    messages = chat_messages(judge.rubric, pair, answer, reminders)
    body = {"model": judge.model, "messages": messages, "temperature": 0, **own, **judge.body}
    return {key: value for key, value in body.items() if value is not None}


def _decision_body(judge: Judge, pair: Pair) -> dict[str, Any]:
    rubric = judge.rubric
    levels = [{"label": grade, "description": text} for grade, text in zip(rubric.grades, rubric.levels, strict=True)]
    question = {"type": "score", "instructions": rubric.text, "levels": levels}
    part = {"type": "input_json", "data": json.loads(quoted_pair(pair))}
    body = {
        "model": judge.model,
        "input": [{"role": "user", "content": [part]}],
        "questions": [question],
        **judge.body,
    }
    return {key: value for key, value in body.items() if value is not None}


def read_answer(judge: Judge, raw: Any, seconds: float) -> JudgeAnswer:
    """Return what a server's answer says.

    Args:
        judge: who was asked.
        raw: the body of the answer, JSON.
        seconds: how long it took.

    Example:
        >>> from gen_rerank.labelling.rubrics import read_rubric
        >>> judge = Judge("a", "http://127.0.0.1:8000/v1", "m", read_rubric("shopper"))
        >>> read_answer(judge, {"choices": [{"message": {"content": '{"grade": 3}'}}]}, 0.1).relevance
        0.75
    """
    usage = raw.get("usage") if isinstance(raw, dict) else None
    inputs, outputs = (_tokens(usage, *names) for names in (_INPUT, _OUTPUT))
    try:
        relevance, probabilities = _READERS[judge.reading](judge.rubric, raw)
    except _Unread as error:
        return JudgeAnswer(None, None, str(error), inputs, outputs, seconds)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return JudgeAnswer(None, None, "not an answer of this API", inputs, outputs, seconds)
    return JudgeAnswer(relevance, probabilities, None, inputs, outputs, seconds)


class _Unread(ValueError):
    """An answer that cannot be used; the message says why, without its text."""


_INPUT, _OUTPUT = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")


def _tokens(usage: Any, *names: str) -> int:
    """Return a count of tokens, 0 where the server gives none."""
    counts = (usage.get(name) for name in names) if isinstance(usage, dict) else ()
    return next((count for count in counts if isinstance(count, int) and count >= 0), 0)


def _from_json(rubric: Rubric, raw: Any) -> tuple[float, None]:
    message = raw["choices"][0]["message"]
    if message.get("refusal"):
        raise _Unread("refused")
    content = message.get("content") or ""
    if not content.strip():
        raise _Unread("empty answer")
    try:
        grade = json.loads(_OBJECT.findall(content)[0])["grade"]
    except (ValueError, KeyError, IndexError) as error:
        raise _Unread("no JSON with a grade") from error
    if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade < len(rubric.grades):
        raise _Unread("a grade that there is not")
    return rubric.relevance(grade), None


def _from_logprobs(rubric: Rubric, raw: Any) -> tuple[float, tuple[float, ...]]:
    logprobs = raw["choices"][0].get("logprobs")
    if not logprobs or not logprobs.get("content"):
        raise _Unread("no log-probabilities")
    masses = [0.0] * len(rubric.grades)
    for one in logprobs["content"][0]["top_logprobs"]:
        token = one["token"].strip(" \n\t▁Ġ")  # as some tokenizers write the space before a word
        if token in rubric.grades:
            masses[int(token)] += math.exp(one["logprob"])
    if not sum(masses) >= LEAST_MASS:  # NaN is no mass
        raise _Unread("hardly any probability on the grades")
    return _distributed(rubric, masses)


def _from_decision(rubric: Rubric, raw: Any) -> tuple[float, tuple[float, ...]]:
    answer = raw["answers"][0]
    if answer["type"] == "refusal":
        raise _Unread("refused")
    by_value = {one["value"]: float(one["probability"]) for one in answer["probabilities"]}
    masses = [by_value[place] for place in range(len(rubric.grades))]
    if not sum(masses) > 0 or min(masses) < 0:
        raise _Unread("no probabilities")
    return _distributed(rubric, masses)


def _distributed(rubric: Rubric, masses: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """Return the mean relevance, and the masses as probabilities."""
    total = math.fsum(masses)
    probabilities = tuple(mass / total for mass in masses)
    mean = math.fsum(grade * share for grade, share in enumerate(probabilities))
    return min(rubric.relevance(mean), 1.0), probabilities


_READERS: dict[str, Any] = {"json": _from_json, "logprobs": _from_logprobs, "decisions": _from_decision}
