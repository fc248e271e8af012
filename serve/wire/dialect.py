"""The dialects that the server speaks: of each, what a request looks like, an answer, an error and its status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json

from serve.question import Answer, Refusal
from serve.wire.batch import BatchRequest, BatchResponse, answer_batch
from serve.wire.bodies import WireRequest
from serve.wire.cohere import CohereRequest, CohereResponse, answer_cohere, error_cohere
from serve.wire.completions import CompletionRequest, CompletionResponse, answer_completions
from serve.wire.jina import JinaRequest, JinaResponse, answer_jina, error_jina
from serve.wire.openai import error_openai, status_openai
from serve.wire.score import ScoreRequest, ScoreResponse, answer_score
from serve.wire.tei import TeiRequest, TeiResponse, answer_tei, error_tei

R = TypeVar("R", bound=WireRequest)

ErrorBody = Callable[[Refusal], dict[str, Any]]


def _same_status(refusal: Refusal) -> int:
    return refusal.status


@dataclass(frozen=True)
class Dialect(Generic[R]):
    """One service's way to ask and to be answered.

    Attributes:
        name: of the dialect, for people.
        request: the body; its `question` says what is asked.
        response: the body of the answer, for OpenAPI.
        answer: makes the answer, which is written without the fields that are None.
        error: makes the body of a refusal.
        status: of a refusal's response.
    """

    name: str
    request: type[R]
    response: type[BaseModel]
    answer: Callable[[R, Answer], BaseModel]
    error: ErrorBody
    status: Callable[[Refusal], int] = _same_status


JINA = Dialect("jina", JinaRequest, JinaResponse, answer_jina, error_jina)
COHERE = Dialect("cohere_v2", CohereRequest, CohereResponse, answer_cohere, error_cohere)
TEI = Dialect("tei", TeiRequest, TeiResponse, answer_tei, error_tei)
SCORE = Dialect("score", ScoreRequest, ScoreResponse, answer_score, error_openai, status_openai)
COMPLETIONS = Dialect(
    "completions", CompletionRequest, CompletionResponse, answer_completions, error_openai, status_openai
)
BATCH = Dialect("batch", BatchRequest, BatchResponse, answer_batch, error_jina)


def rerank_dialect(body: bytes) -> Dialect[Any]:
    """Return what a body of `POST /rerank` is written in: TEI's has `texts`, vLLM's has `documents` as Jina's does.

    Example:
        >>> rerank_dialect(b'{"query": "oak desk", "texts": ["Oak desk"]}').name
        'tei'
    """
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError:
        return JINA
    return TEI if isinstance(content, dict) and "texts" in content else JINA


def error_for(path: str) -> ErrorBody:
    """Return the shape of an error for a path, where the body says nothing: before it is read, or elsewhere.

    Example:
        >>> error_for("/v2/rerank")(Refusal(401, "who are you?"))
        {'message': 'who are you?'}
    """
    return _ERRORS.get(path, _error_elsewhere)


def status_for(path: str) -> Callable[[Refusal], int]:
    """Return how a path of `error_for` says the status of a refusal.

    Example:
        >>> status_for("/v1/load_lora_adapter")(Refusal(422, "lora_name is missing"))
        400
    """
    return status_openai if error_for(path) is error_openai else _same_status


def _error_rerank(refusal: Refusal) -> dict[str, Any]:
    """The body would say which of the two it is: the answer has the fields of both."""
    return error_tei(refusal) | error_jina(refusal)


def _error_elsewhere(refusal: Refusal) -> dict[str, Any]:
    return {"detail": refusal.sentence}


_ERRORS: dict[str, ErrorBody] = {
    "/v1/rerank": error_jina,
    "/v1/rerank/batch": error_jina,
    "/v2/rerank": error_cohere,
    "/rerank": _error_rerank,
    "/v1/score": error_openai,
    "/score": error_openai,
    "/v1/completions": error_openai,
    "/v1/models": error_openai,
    "/v1/load_lora_adapter": error_openai,
    "/v1/unload_lora_adapter": error_openai,
}
