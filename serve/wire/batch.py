"""Our own shape for many queries in one request: `POST /v1/rerank/batch`.

Each entry is a query with its documents, or with those that all entries share; the answer has one ranking an entry, in
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, Field

from gen_rerank.data.records import Pair
from serve.question import Answer, Blank, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import Document, DocumentList, check_query, pairs
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, ScoringRequest, asked_of
from serve.wire.results import RankingVerdict, RankOptions, RerankResult, Usage, ranked, relevances, verdict


class BatchEntry(RankOptions):
    """One query."""

    documents: Annotated[DocumentList | None, Field(description="Of this query; absent, the shared ones.")] = None


class BatchRequest(ScoringRequest):
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

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return the items of all entries, one entry after the other.

        Raises:
            Refusal: no entries, an entry without a query or documents, too many pairs, a document that is not a
                product, or a field that asks for what is not done here.
        """
        if not self.requests:
            raise Refusal(422, "requests is empty; give at least one")
        check_size(
            "requests", sum(len(self.documents_of(entry)) for entry in self.requests), max_documents, "documents"
        )
        empty_last = self._empty_last(empty_documents)
        shared: dict[tuple[str, ...], Sequence[Pair | Blank]] = {}
        asked = self._question(
            [item for i, entry in enumerate(self.requests) for item in self._items(i, entry, shared, empty_last)]
        )
        return replace(asked, needs_tiers=any(entry.min_tier is not None for entry in self.requests))

    def documents_of(self, entry: BatchEntry) -> list[Document]:
        """Return the documents of an entry, its own or the shared ones."""
        return (self.documents or []) if entry.documents is None else entry.documents

    def _items(
        self,
        number: int,
        entry: BatchEntry,
        shared: dict[tuple[str, ...], Sequence[Pair | Blank]],
        empty_last: bool,
    ) -> list[Pair | Blank]:
        """Return the items of an entry; shared documents are made into products once for each set of fields read."""
        query, fields = entry.query, entry.rank_fields
        check_query(query, f"requests.{number}.query")
        if entry.documents is not None:
            place = f"requests.{number}.documents"
            return pairs(query, entry.documents, place=place, rank_fields=fields, empty_last=empty_last)
        if self.documents is None:
            raise Refusal(422, f"requests.{number}.documents is missing, and there are no shared documents")
        read = tuple(fields or ())
        if read not in shared:
            shared[read] = pairs(query, self.documents, rank_fields=fields, empty_last=empty_last)
        return [asked_of(query, item) for item in shared[read]]


class BatchResponse(BaseModel):
    """The answer of `POST /v1/rerank/batch`."""

    id: str
    model: str
    usage: Usage
    results: Annotated[list[list[RerankResult]], Field(description="One ranking an entry, in order.")]
    verdicts: Annotated[list[RankingVerdict], Field(description="What is said of each ranking as a whole, in order.")]


def answer_batch(request: BatchRequest, answer: Answer) -> BatchResponse:
    """Return one ranking an entry."""
    results, verdicts, start = [], [], 0
    for entry in request.requests:
        documents = request.documents_of(entry)
        rows = slice(start, start + len(documents))
        results.append(ranked(entry, documents, relevances(entry, answer, rows)))
        verdicts.append(verdict(entry, answer, results[-1], rows))
        start = rows.stop
    usage = Usage(prompt_tokens=answer.tokens, total_tokens=answer.tokens)
    return BatchResponse(id=str(uuid4()), model=answer.model, usage=usage, results=results, verdicts=verdicts)
