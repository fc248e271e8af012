"""Our own shape for many queries in one request: `POST /v1/rerank/batch`.

Each entry is a query with its documents, or with those that all entries share; the answer has one ranking an entry, in
order.
"""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, Field

from gen_rerank.data.records import Pair, Product
from serve.question import Answer, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import Document, DocumentList, DocumentTokens, check_query, products
from serve.wire.requests import MAX_DOCUMENTS, PairRequest
from serve.wire.results import RankOptions, RerankResult, Usage, ranked, relevances


class BatchEntry(RankOptions):
    """One query."""

    documents: Annotated[DocumentList | None, Field(description="Of this query; absent, the shared ones.")] = None


class BatchRequest(PairRequest):
    """The body of `POST /v1/rerank/batch`."""

    requests: Annotated[
        list[BatchEntry],
        Field(
            fail_fast=True,
            description="The queries, each with its own documents and options.",
            examples=[[{"query": "oak desk", "top_n": 1}, {"query": "lamp", "documents": ["Desk lamp", "Oak desk"]}]],
            json_schema_extra={"minItems": 1},
        ),
    ]
    documents: Annotated[DocumentList | None, Field(description="For the entries that have none of their own.")] = None
    max_tokens_per_doc: DocumentTokens = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return the pairs of all entries, one entry after the other.

        Raises:
            Refusal: no entries, an entry without a query or documents, too many pairs, or a document that is not a
                product.
        """
        if not self.requests:
            raise Refusal(422, "requests is empty; give at least one")
        check_size(
            "requests", sum(len(self.documents_of(entry)) for entry in self.requests), max_documents, "documents"
        )
        shared: dict[tuple[str, ...], list[Product]] = {}
        items = [
            Pair(entry.query, product)
            for i, entry in enumerate(self.requests)
            for product in self._products(i, entry, shared)
        ]
        return self._question(items, document_tokens=self.max_tokens_per_doc)

    def documents_of(self, entry: BatchEntry) -> list[Document]:
        """Return the documents of an entry, its own or the shared ones."""
        return (self.documents or []) if entry.documents is None else entry.documents

    def _products(self, number: int, entry: BatchEntry, shared: dict[tuple[str, ...], list[Product]]) -> list[Product]:
        """Return the products of an entry; shared documents are made into products once for each set of fields read."""
        check_query(entry.query, f"requests.{number}.query")
        if entry.documents is not None:
            return products(entry.documents, place=f"requests.{number}.documents", rank_fields=entry.rank_fields)
        if self.documents is None:
            raise Refusal(422, f"requests.{number}.documents is missing, and there are no shared documents")
        read = tuple(entry.rank_fields or ())
        if read not in shared:
            shared[read] = products(self.documents, rank_fields=entry.rank_fields)
        return shared[read]


class BatchResponse(BaseModel):
    """The answer of `POST /v1/rerank/batch`."""

    id: str
    model: str
    usage: Usage
    results: Annotated[list[list[RerankResult]], Field(description="One ranking an entry, in order.")]


def answer_batch(request: BatchRequest, answer: Answer) -> BatchResponse:
    """Return one ranking an entry."""
    results, start = [], 0
    for entry in request.requests:
        documents = request.documents_of(entry)
        rows = slice(start, start + len(documents))
        results.append(ranked(entry, documents, relevances(entry, answer, rows)))
        start = rows.stop
    usage = Usage(prompt_tokens=answer.tokens, total_tokens=answer.tokens)
    return BatchResponse(id=str(uuid4()), model=answer.model, usage=usage, results=results)
