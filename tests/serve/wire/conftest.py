"""Requests without a server: what is asked, what is answered, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gen_rerank import Distribution
from serve.question import Answer, Question, Refusal
from serve.wire import Dialect, parse

THRESHOLDS = {"exact": 0.8, "close": 0.4}


@pytest.fixture(scope="session")
def ask() -> Callable[[Dialect[Any], dict[str, Any]], Question]:
    """What a body asks."""

    def asked(dialect: Dialect[Any], body: dict[str, Any]) -> Question:
        return parse(json.dumps(body).encode(), dialect.request).question()

    return asked


@pytest.fixture(scope="session")
def reply() -> Callable[..., Any]:
    """What a body is answered when each item of the question is sure of one bin."""

    def replied(
        dialect: Dialect[Any], body: dict[str, Any], bins: Sequence[int], thresholds: dict[str, float] = THRESHOLDS
    ) -> Any:
        request = parse(json.dumps(body).encode(), dialect.request)
        assert len(request.question().items) == len(bins)
        answer = Answer("tiny", Distribution(np.eye(11)[list(bins)]), 70, 0, 0, thresholds)
        return dialect.answer(request, answer).model_dump(exclude_none=True)

    return replied


@pytest.fixture(scope="session")
def refused(ask: Callable[[Dialect[Any], dict[str, Any]], Question]) -> Callable[..., Refusal]:
    """Why a body is refused; every refusal is one short line."""

    def why(dialect: Dialect[Any], body: dict[str, Any]) -> Refusal:
        with pytest.raises(Refusal) as caught:
            ask(dialect, body)
        assert "\n" not in caught.value.sentence
        assert len(caught.value.sentence) < 250
        return caught.value

    return why
