"""What a refusal looks like in each service's way to say it: the body of the error, and the status of the response.

A dialect knows its own shape. Before a body is read nobody knows whose it is, and elsewhere there is no dialect at all:
there the path tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serve.question import Refusal

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# What text-embeddings-inference calls them; it has one status for each.
_TEI_TYPES = {400: "Empty", 413: "Validation", 422: "Tokenizer", 424: "Backend", 429: "Overloaded", 503: "Unhealthy"}
_SYSTEMONE_TYPES = {
    401: "authentication_error",
    403: "authentication_error",
    404: "not_found",
    429: "rate_limit_error",
}


@dataclass(frozen=True)
class ErrorShape:
    """One service's way to refuse.

    Attributes:
        error: makes the body.
        status: of the response.
    """

    error: Callable[[Refusal], dict[str, Any]]
    status: Callable[[Refusal], int]


def error_jina(refusal: Refusal) -> dict[str, Any]:
    """Return the sentence under Jina's name and under Cohere's, who share a route."""
    return {"detail": refusal.sentence, "message": refusal.sentence}


def error_cohere(refusal: Refusal) -> dict[str, Any]:
    """Return the sentence as Cohere's clients look for it."""
    return {"message": refusal.sentence}


def error_tei(refusal: Refusal) -> dict[str, Any]:
    """Return the sentence and text-embeddings-inference's type of the error, which goes by the status."""
    status = status_tei(refusal)
    kind = _TEI_TYPES.get(status, "Validation" if status < 500 else "Backend")
    return {"error": refusal.sentence, "error_type": kind}


def error_openai(refusal: Refusal) -> dict[str, Any]:
    """Return the error object; its code is the status, as vLLM's is."""
    kind = _OPENAI_TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return {"error": {"message": refusal.sentence, "type": kind, "param": None, "code": status_openai(refusal)}}


def error_vllm(refusal: Refusal) -> dict[str, Any]:
    """Return vLLM's error object, and the sentence for Jina's clients, which can ask there too."""
    return error_jina(refusal) | error_openai(refusal)


def error_systemone(refusal: Refusal) -> dict[str, Any]:
    """Return System One's error: a list of what is wrong with a body, else a type and a message."""
    if refusal.status == 422:
        return {"detail": [{"loc": ["body"], "msg": refusal.sentence, "type": "value_error"}]}
    kind = _SYSTEMONE_TYPES.get(refusal.status, "api_usage_error" if refusal.status < 500 else "internal_error")
    return {"detail": {"error_type": kind, "message": refusal.sentence}}


def same_status(refusal: Refusal) -> int:
    """Return the status as it is."""
    return refusal.status


def status_tei(refusal: Refusal) -> int:
    """Return the status: text-embeddings-inference's own failure is a dependency's."""
    return 424 if refusal.status == 500 else refusal.status


def status_openai(refusal: Refusal) -> int:
    """Return the status: OpenAI knows no 422."""
    return 400 if refusal.status == 422 else refusal.status


def _error_tei_or_vllm(refusal: Refusal) -> dict[str, Any]:
    """Return TEI's fields, not vLLM's `error`, which has the same name; what is no JSON lacks more than texts."""
    fields = error_jina(refusal) | error_tei(refusal)
    return fields | {"error_type": "Validation"} if refusal.status == 400 else fields


def _error_elsewhere(refusal: Refusal) -> dict[str, Any]:
    return {"detail": refusal.sentence}


JINA_ERRORS = ErrorShape(error_jina, same_status)
COHERE_ERRORS = ErrorShape(error_cohere, same_status)
TEI_ERRORS = ErrorShape(error_tei, status_tei)
VLLM_ERRORS = ErrorShape(error_vllm, status_openai)
OPENAI_ERRORS = ErrorShape(error_openai, status_openai)
SYSTEMONE_ERRORS = ErrorShape(error_systemone, same_status)

_ELSEWHERE = ErrorShape(_error_elsewhere, same_status)
_OF_PATH = {
    "/v1/rerank": JINA_ERRORS,
    "/v1/rerank/batch": JINA_ERRORS,
    "/v2/rerank": COHERE_ERRORS,
    "/rerank": ErrorShape(_error_tei_or_vllm, same_status),
    "/info": TEI_ERRORS,
    "/v1/score": OPENAI_ERRORS,
    "/score": OPENAI_ERRORS,
    "/v1/completions": OPENAI_ERRORS,
    "/v1/decisions": OPENAI_ERRORS,
    "/v1/systemone": SYSTEMONE_ERRORS,
    "/v1/models": OPENAI_ERRORS,
    "/v1/load_lora_adapter": OPENAI_ERRORS,
    "/v1/unload_lora_adapter": OPENAI_ERRORS,
}


def errors_for(path: str) -> ErrorShape:
    """Return the shape of errors on a path, where the body says nothing: before it is read, or elsewhere.

    Example:
        >>> errors_for("/v2/rerank").error(Refusal(401, "who are you?"))
        {'message': 'who are you?'}
        >>> errors_for("/v1/load_lora_adapter").status(Refusal(422, "lora_name is missing"))
        400
    """
    return _OF_PATH.get(path, _ELSEWHERE)
