"""What the rerank shapes of Jina, Cohere and vLLM have in common: one query, its documents, and options."""

from __future__ import annotations

from serve.question import Answer, Question
from serve.wire.bodies import check_size
from serve.wire.documents import DocumentList, DocumentTokens, check_query, pairs
from serve.wire.requests import MAX_DOCUMENTS, PairRequest
from serve.wire.results import RankOptions, RerankResult, ranked, relevances


class RerankRequest(RankOptions, PairRequest):
    """Rank documents for a query."""

    documents: DocumentList
    max_tokens_per_doc: DocumentTokens = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return one pair a document.

        Raises:
            Refusal: no query, no documents, too much of either, or a document that is not a product.
        """
        check_query(self.query)
        check_size("documents", len(self.documents), max_documents, "entries")
        items = pairs(self.query, self.documents, rank_fields=self.rank_fields)
        return self._question(items, document_tokens=self.max_tokens_per_doc)


def rerank_results(request: RerankRequest, answer: Answer) -> list[RerankResult]:
    """Return the results of a request, best first."""
    return ranked(request, request.documents, relevances(request, answer))
