"""What the OpenAI-style dialects have in common: errors, their statuses, and usage."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from serve.question import Refusal

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIUsage(BaseModel):
    """The tokens that were read and made."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


def error_openai(refusal: Refusal) -> dict[str, Any]:
    """Return the error object; its code is the status, as vLLM's is."""
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return {
        "error": {"message": refusal.sentence, "type": kind, "param": None, "code": status_openai(refusal)},
    }


def status_openai(refusal: Refusal) -> int:
    """Return the status: OpenAI knows no 422."""
    return 400 if refusal.status == 422 else refusal.status
