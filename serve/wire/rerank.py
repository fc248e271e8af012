"""What the rerank shapes of Jina, Cohere and vLLM have in common: one query, its documents, and options."""

from __future__ import annotations

from dataclasses import replace

from serve.question import Answer, Question
from serve.wire.bodies import check_size
from serve.wire.documents import DocumentList, check_query, pairs
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, ScoringRequest
from serve.wire.results import RankingVerdict, RankOptions, RerankResult, ranked, relevances, verdict


class RerankRequest(RankOptions, ScoringRequest):
    """Rank documents for a query."""

    documents: DocumentList

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return one item a document.

        Raises:
            Refusal: no query, no documents, too many of them, a document that is not a product, or a field that asks
                for what is not done here.
        """
        check_query(self.query)
        check_size("documents", len(self.documents), max_documents, "entries")
        empty_last = self._empty_last(empty_documents)
        items = pairs(self.query, self.documents, rank_fields=self.rank_fields, empty_last=empty_last)
        return replace(self._question(items), needs_tiers=self.min_tier is not None)


class RerankResponse(RankingVerdict):
    """The answer: results, and what is said of them as a whole."""

    results: list[RerankResult]


def reranked(request: RerankRequest, answer: Answer) -> RerankResponse:
    """Return the results of a request, best first, and what is said of them as a whole."""
    results = ranked(request, request.documents, relevances(request, answer))
    return RerankResponse(results=results, **dict(verdict(request, answer, results)))
