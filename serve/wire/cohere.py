"""Cohere's shape, version 2: `POST /v2/rerank`."""

from __future__ import annotations

from uuid import uuid4

from pydantic import BaseModel

from serve.question import Answer
from serve.wire.jina import ApiVersion, Meta
from serve.wire.rerank import RerankRequest, rerank_results
from serve.wire.results import RerankResult


class CohereRequest(RerankRequest):
    """The body of `POST /v2/rerank`."""


class CohereResponse(BaseModel):
    """The answer of `POST /v2/rerank`."""

    id: str
    results: list[RerankResult]
    meta: Meta = Meta(api_version=ApiVersion(version="2"))


def answer_cohere(request: CohereRequest, answer: Answer) -> CohereResponse:
    """Return the answer, best results first."""
    return CohereResponse(id=str(uuid4()), results=rerank_results(request, answer))
