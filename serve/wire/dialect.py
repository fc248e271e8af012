"""The dialects that the server speaks: of each, what a request looks like, an answer and a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from serve.question import Answer
from serve.wire.batch import BatchRequest, BatchResponse, answer_batch
from serve.wire.cohere import CohereRequest, CohereResponse, answer_cohere
from serve.wire.completions import CompletionRequest, CompletionResponse, answer_completions
from serve.wire.decisions import Decision, DecisionRequest, answer_decisions
from serve.wire.errors import (
    COHERE_ERRORS,
    JINA_ERRORS,
    OPENAI_ERRORS,
    SYSTEMONE_ERRORS,
    TEI_ERRORS,
    VLLM_ERRORS,
    ErrorShape,
)
from serve.wire.jina import JinaRequest, JinaResponse, answer_jina
from serve.wire.requests import WireRequest
from serve.wire.score import ScoreRequest, ScoreResponse, answer_score
from serve.wire.systemone import SystemOneRequest, SystemOneResponse, answer_systemone
from serve.wire.tei import NO_GOOD_MATCH, TeiRequest, TeiResponse, answer_tei, tei_headers
from serve.wire.vllm import VllmRequest

R = TypeVar("R", bound=WireRequest)


def _no_headers(_: Answer) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Dialect(Generic[R]):
    """One service's way to ask and to be answered.

    Attributes:
        name: of the dialect, for people.
        request: the body; its `question` says what is asked.
        response: the body of the answer, for OpenAPI.
        answer: makes the answer, a body of `response`.
        errors: how it refuses.
        nulls: whether fields of the answer that are None are written, as null.
        headers: what the answer's own headers say, by name, for OpenAPI.
        header_values: makes them.
    """

    name: str
    request: type[R]
    response: type[BaseModel]
    answer: Callable[[R, Answer], BaseModel]
    errors: ErrorShape
    nulls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    header_values: Callable[[Answer], dict[str, str]] = _no_headers


JINA = Dialect("jina", JinaRequest, JinaResponse, answer_jina, JINA_ERRORS)
VLLM = Dialect("vllm", VllmRequest, JinaResponse, answer_jina, VLLM_ERRORS)
COHERE = Dialect("cohere_v2", CohereRequest, CohereResponse, answer_cohere, COHERE_ERRORS)
_TEI_HEADERS = {NO_GOOD_MATCH: "Whether no text reaches the tier `close`; absent where the checkpoint has no tiers."}
TEI = Dialect("tei", TeiRequest, TeiResponse, answer_tei, TEI_ERRORS, headers=_TEI_HEADERS, header_values=tei_headers)
SCORE = Dialect("score", ScoreRequest, ScoreResponse, answer_score, OPENAI_ERRORS)
COMPLETIONS = Dialect("completions", CompletionRequest, CompletionResponse, answer_completions, OPENAI_ERRORS)
DECISIONS = Dialect("decisions", DecisionRequest, Decision, answer_decisions, OPENAI_ERRORS, nulls=True)
SYSTEMONE = Dialect("systemone", SystemOneRequest, SystemOneResponse, answer_systemone, SYSTEMONE_ERRORS)
BATCH = Dialect("batch", BatchRequest, BatchResponse, answer_batch, JINA_ERRORS)


def rerank_dialect(content: Any) -> Dialect[Any]:
    """Return what a body of `POST /rerank` is: text-embeddings-inference's, with `texts`, or otherwise vLLM's.

    Example:
        >>> rerank_dialect({"query": "oak desk", "texts": ["Oak desk"]}).name
        'tei'
    """
    return TEI if isinstance(content, dict) and "texts" in content else VLLM
