"""The shape of Hugging Face's text-embeddings-inference: `POST /rerank` with `texts`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, RootModel

from serve.question import Answer, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import QueryText, check_query, pairs
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, PairRequest, only
from serve.wire.results import Relevance, ResultOptions, by_relevance, relevances, without_good_match

# Says what the other rerank shapes say in the body by `no_good_match`: a bare array has no place for it.
NO_GOOD_MATCH = "X-No-Good-Match"

# Keeps the log-odds of 0 and 1 finite: ±13.8.
_MARGIN = 1e-6


class TeiRequest(ResultOptions, PairRequest):
    """The body of `POST /rerank` with `texts`."""

    query: QueryText
    texts: Annotated[
        list[str],
        Field(
            fail_fast=True,
            description="What is ranked.",
            examples=[["Oak writing desk", "Desk lamp"]],
            json_schema_extra={"minItems": 1},
        ),
    ]
    raw_scores: Annotated[bool, Field(description="Scores are log-odds of the relevance instead.")] = False
    return_text: Annotated[bool, Field(description="Repeat each text in its result.")] = False
    truncate: Annotated[
        bool | None, Field(description="`false` refuses a text that does not fit; otherwise it is cut.")
    ] = None

    truncation_direction: Annotated[
        Literal["Left", "Right"] | None,
        BeforeValidator(lambda given: given.capitalize() if isinstance(given, str) else given),
        Field(description="`Right`.", json_schema_extra=only("Right")),
    ] = None

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return one item a text.

        Raises:
            Refusal: 400 when there are no texts, 413 when there are too many, so that clients split them, 422 for a
                query or a text without text, or a direction that texts are not cut in.
        """
        if not self.texts:
            raise Refusal(400, "texts is empty; give at least one")
        check_size("texts", len(self.texts), max_documents, "entries", status=413)
        if self.truncation_direction == "Left":
            raise Refusal(422, "truncation_direction must be Right or absent: texts are cut at their end")
        check_query(self.query)
        items = pairs(self.query, self.texts, place="texts", empty_last=self._empty_last(empty_documents))
        return self._question(items, refuse_cut=self.truncate is False)


class TeiResult(Relevance):
    """One text with its relevance."""

    index: Annotated[int, Field(description="The text's place in the request.")]
    score: Annotated[float, Field(description="The mean, or its log-odds with `raw_scores`.")]
    text: str | None = None


class TeiResponse(RootModel[list[TeiResult]]):
    """The answer: a bare array, best first."""


def answer_tei(request: TeiRequest, answer: Answer) -> TeiResponse:
    """Return the answer, best results first."""
    rows = relevances(request, answer)
    return TeiResponse(
        [
            TeiResult(
                **dict(rows[i]),
                index=i,
                score=log_odds(rows[i].mean) if request.raw_scores else rows[i].mean,
                text=request.texts[i] if request.return_text else None,
            )
            for i in by_relevance(rows)
        ]
    )


def tei_headers(answer: Answer) -> dict[str, str]:
    """Return `X-No-Good-Match`, `true` or `false`; nothing where the checkpoint has no tiers."""
    nothing = without_good_match(answer)
    return {} if nothing is None else {NO_GOOD_MATCH: str(nothing).lower()}


def log_odds(score: float) -> float:
    """Return the logit of a score, finite for 0 and 1 too.

    Example:
        >>> round(log_odds(0.75), 4)
        1.0986
    """
    inside = min(max(score, _MARGIN), 1 - _MARGIN)
    return math.log(inside / (1 - inside))
