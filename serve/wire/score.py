"""vLLM's shape: `POST /v1/score` and `POST /score`, pairs of texts with one score each, in the order given."""

from __future__ import annotations

import time
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AliasChoices, Field

from gen_rerank.data.records import Pair
from serve.question import Answer, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import Document, DocumentTokensOrAll, check_query, product
from serve.wire.requests import MAX_DOCUMENTS, PairRequest
from serve.wire.results import OpenAIResponse, OpenAIUsage, Relevance, ResultOptions, relevances


class ScoreRequest(ResultOptions, PairRequest):
    """The body of `POST /v1/score`: one query for all documents, or as many as documents."""

    queries: Annotated[
        str | Annotated[list[str], Field(fail_fast=True)],
        Field(
            validation_alias=AliasChoices("queries", "text_1", "data_1"),
            description="One query, or one for each document; `text_1` and `data_1` mean the same.",
            examples=["oak desk"],
        ),
    ]
    documents: Annotated[
        Document | Annotated[list[Document], Field(fail_fast=True)],
        Field(
            validation_alias=AliasChoices("documents", "items", "text_2", "data_2"),
            description="Titles or product objects; `items`, `text_2` and `data_2` mean the same.",
            examples=[["Oak writing desk", {"title": "Desk lamp", "brand": "Lumo"}]],
        ),
    ]
    max_tokens_per_doc: DocumentTokensOrAll = None

    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return one pair a document.

        Raises:
            Refusal: no queries or documents, too many, numbers of them that do not match, or a document that is not a
                product.
        """
        queries = [self.queries] if isinstance(self.queries, str) else self.queries
        documents = self.documents if isinstance(self.documents, list) else [self.documents]
        for name, entries in (("queries", queries), ("documents", documents)):
            if not entries:
                raise Refusal(422, f"{name} is empty; give at least one")
            check_size(name, len(entries), max_documents, "entries")
        if len(queries) not in (1, len(documents)):
            raise Refusal(
                422, f"there are {len(queries)} queries and {len(documents)} documents; give one query, or one for each"
            )
        for i, query in enumerate(queries):
            check_query(query, f"queries.{i}")
        each = queries * len(documents) if len(queries) == 1 else queries
        items = [Pair(each[i], product(given, f"documents.{i}", i)) for i, given in enumerate(documents)]
        return self._question(items, document_tokens=self.max_tokens_per_doc or None)


class Score(Relevance):
    """One pair with its relevance."""

    index: Annotated[int, Field(description="The pair's place in the request.")]
    object: Literal["score"] = "score"
    score: Annotated[float, Field(description="The mean.", ge=0, le=1)]


class ScoreResponse(OpenAIResponse):
    """The answer of `POST /v1/score`."""

    object: Literal["list"] = "list"
    data: list[Score]
    usage: OpenAIUsage


def answer_score(request: ScoreRequest, answer: Answer) -> ScoreResponse:
    """Return the answer, in the order of the request."""
    rows = relevances(request, answer)
    return ScoreResponse(
        id=f"score-{uuid4().hex}",
        created=int(time.time()),
        model=answer.model,
        data=[Score(**dict(row), index=i, score=row.mean) for i, row in enumerate(rows)],
        usage=OpenAIUsage(prompt_tokens=answer.tokens, total_tokens=answer.tokens),
    )
