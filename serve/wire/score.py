"""vLLM's shape: `POST /v1/score` and `POST /score`, pairs of texts with one score each, in the order given."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import AliasChoices, BeforeValidator, Field

from serve.question import Answer, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import Document, DocumentTokensOrAll, check_query, pairs
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, ScoringRequest, asked_of
from serve.wire.results import OpenAIResponse, OpenAIUsage, Relevance, ResultOptions, relevances
from serve.wire.vllm import text_of_parts


def _texts(given: Any) -> Any:
    """Return queries as texts, where they are content parts."""
    return list(map(text_of_parts, given)) if isinstance(given, list) else text_of_parts(given)


class ScoreRequest(ResultOptions, ScoringRequest):
    """The body of `POST /v1/score`: one query for all documents, or as many as documents."""

    queries: Annotated[
        str | Annotated[list[str], Field(fail_fast=True)],
        BeforeValidator(_texts, json_schema_input_type=Document | list[Document]),
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

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return one item a document.

        Raises:
            Refusal: no queries or documents, too many, numbers of them that do not match, a document that is not a
                product, or a field that asks for what is not done here.
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
        found = pairs(queries[0], documents, empty_last=self._empty_last(empty_documents))
        each = queries * len(documents) if len(queries) == 1 else queries
        return self._question([asked_of(query, item) for query, item in zip(each, found, strict=True)])


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
