"""Jina's shape and Cohere v1's: `POST /v1/rerank`, whose answer has the fields of both.

Where their defaults differ Cohere's is taken: documents come back when `return_documents` asks for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from gen_rerank.prompting.limits import Limits
from serve.question import Answer, Question, Refusal
from serve.wire.documents import Count, CountOrAll
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, only
from serve.wire.rerank import RerankRequest, RerankResponse, reranked
from serve.wire.results import Usage


class JinaRequest(RerankRequest):
    """The body of `POST /v1/rerank`, as Jina's clients or Cohere's v1 client send it."""

    max_doc_length: Annotated[Count | None, Field(description="Jina's name of `max_tokens_per_doc`.")] = None
    max_query_length: Annotated[CountOrAll | None, Field(description="Jina's name of `max_tokens_per_query`.")] = None
    truncation: Annotated[
        bool | None, Field(description="`false` refuses a document that does not fit; otherwise it is cut.")
    ] = None
    return_embeddings: Annotated[
        bool | None, Field(description="`false`: there are none.", json_schema_extra=only(False))
    ] = None

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return one item a document; see `RerankRequest`."""
        if self.return_embeddings:
            raise Refusal(422, "return_embeddings must be false or absent: the model reads pairs, and embeds nothing")
        asked = super().question(max_documents, empty_documents=empty_documents)
        return replace(asked, refuse_cut=self.truncation is False)

    def _limits(self) -> Limits:
        limits = super()._limits()
        return replace(
            limits,
            document_tokens=limits.document_tokens or self.max_doc_length,
            query_tokens=limits.query_tokens or self.max_query_length or None,
        )


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


class JinaResponse(RerankResponse):
    """The answer of `POST /v1/rerank`."""

    id: str
    model: str
    usage: Usage
    meta: Meta = Meta(api_version=ApiVersion(version="1"))


def answer_jina(request: JinaRequest, answer: Answer) -> JinaResponse:
    """Return the answer, best results first."""
    return JinaResponse(
        id=str(uuid4()),
        model=answer.model,
        usage=Usage(prompt_tokens=answer.tokens, total_tokens=answer.tokens),
        **dict(reranked(request, answer)),
    )
