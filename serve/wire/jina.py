"""Jina's shape and Cohere v1's: `POST /v1/rerank`, whose answer has the fields of both.

Where their defaults differ Cohere's is taken: documents come back when `return_documents` asks for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from serve.question import Answer, Question
from serve.wire.documents import Count
from serve.wire.requests import MAX_DOCUMENTS
from serve.wire.rerank import RerankRequest, rerank_results
from serve.wire.results import RerankResult, Usage


class JinaRequest(RerankRequest):
    """The body of `POST /v1/rerank`, as Jina's clients or Cohere's v1 client send it."""

    max_doc_length: Annotated[Count | None, Field(description="Jina's name of `max_tokens_per_doc`.")] = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return one pair a document; see `RerankRequest`."""
        tokens = self.max_tokens_per_doc or self.max_doc_length
        return replace(super().question(max_documents), document_tokens=tokens)


class ApiVersion(BaseModel):
    """Cohere's version of the shape."""

    version: Literal["1", "2"]


class BilledUnits(BaseModel):
    """Cohere's unit of billing: one search a query."""

    search_units: int = 1


class Meta(BaseModel):
    """What Cohere's clients expect beside the results."""

    api_version: ApiVersion
    billed_units: BilledUnits = BilledUnits()


class JinaResponse(BaseModel):
    """The answer of `POST /v1/rerank`."""

    id: str
    model: str
    usage: Usage
    results: list[RerankResult]
    meta: Meta = Meta(api_version=ApiVersion(version="1"))


def answer_jina(request: JinaRequest, answer: Answer) -> JinaResponse:
    """Return the answer, best results first."""
    return JinaResponse(
        id=str(uuid4()),
        model=answer.model,
        usage=Usage(prompt_tokens=answer.tokens, total_tokens=answer.tokens),
        results=rerank_results(request, answer),
    )
