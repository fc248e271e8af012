"""What the rerank shapes of Jina and Cohere have in common: one query, its documents, the options of a request."""

from __future__ import annotations

from serve.question import Answer, Question
from serve.wire.bodies import MAX_DOCUMENTS, WireRequest, check_size
from serve.wire.documents import (
    DocumentList,
    DocumentTokens,
    Instruction,
    ModelName,
    check_instruction,
    check_query,
    pairs,
)
from serve.wire.results import RankOptions, RerankResult, ranked, relevances


class RerankRequest(RankOptions, WireRequest):
    """Rank documents for a query."""

    documents: DocumentList
    model: ModelName = None
    instruction: Instruction = None
    max_tokens_per_doc: DocumentTokens = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return one pair a document.

        Raises:
            Refusal: no query, no documents, too much of either, or a document that is not a product.
        """
        check_query(self.query)
        check_instruction(self.instruction)
        check_size("documents", len(self.documents), max_documents, "entries")
        return Question(
            items=pairs(self.query, self.documents, rank_fields=self.rank_fields),
            model=self.model,
            instruction=self.instruction,
            document_tokens=self.max_tokens_per_doc,
        )


def rerank_results(request: RerankRequest, answer: Answer) -> list[RerankResult]:
    """Return the results of a request, best first."""
    return ranked(request, request.documents, relevances(request, answer))
