"""Jina's shape and Cohere v1's: `POST /v1/rerank`, whose answer has the fields of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from serve.question import Answer, Question, Refusal
from serve.wire.bodies import MAX_DOCUMENTS
from serve.wire.documents import Count
from serve.wire.rerank import RerankRequest, rerank_results
from serve.wire.results import RerankResult


class JinaRequest(RerankRequest):
    """The body of `POST /v1/rerank`, as Jina's clients, Cohere's v1 client or vLLM's send it."""

    max_doc_length: Annotated[Count | None, Field(description="Jina's name of `max_tokens_per_doc`.")] = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return one pair a document; see `RerankRequest`."""
        tokens = self.max_tokens_per_doc or self.max_doc_length
        return replace(super().question(max_documents), document_tokens=tokens)


class Usage(BaseModel):
    """What was read: the tokens of all prompts, cached ones included. vLLM's clients look for the first name."""

    prompt_tokens: int
    total_tokens: int


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


def error_jina(refusal: Refusal) -> dict[str, Any]:
    """Return the sentence under Jina's name and under Cohere's."""
    return {"detail": refusal.sentence, "message": refusal.sentence}
