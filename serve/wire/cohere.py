"""Cohere's shape, version 2: `POST /v2/rerank`."""

from __future__ import annotations

from uuid import uuid4

from serve.question import Answer
from serve.wire.jina import ApiVersion, Meta
from serve.wire.rerank import RerankRequest, RerankResponse, reranked


class CohereRequest(RerankRequest):
    """The body of `POST /v2/rerank`."""


class CohereResponse(RerankResponse):
    """The answer of `POST /v2/rerank`."""

    id: str
    meta: Meta = Meta(api_version=ApiVersion(version="2"))


def answer_cohere(request: CohereRequest, answer: Answer) -> CohereResponse:
    """Return the answer, best results first."""
    return CohereResponse(id=str(uuid4()), **dict(reranked(request, answer)))
