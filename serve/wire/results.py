"""From an `Answer` to rows: what every dialect's results carry, and the ranking of one query's documents.

A row has the mean, the standard deviation and the tier, and on request quantiles and the distribution. Ranking drops
what is below `min_score` or `min_tier`, then keeps the best `top_n`; ties stay in the order of the documents, and those
without text, which were not scored, come last. What is said of a ranking as a whole stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from gen_rerank.bins import best_first
from gen_rerank.calibration.rank_confidence import rank_confidence
from gen_rerank.calibration.tiers import TIERS, Tier, at_least, no_good_match, tiers
from serve.question import Answer
from serve.wire.documents import Count, Document, QueryText, RankFields

# The note of a document that was not scored.
NO_TEXT = "the document has no text"


class ResultOptions(BaseModel):
    """What a client can ask to have in each result."""

    return_distribution: Annotated[
        bool, Field(description="Add the probabilities of the eleven bins 0.0, 0.1 … 1.0.")
    ] = False
    return_quantiles: Annotated[
        Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(fail_fast=True, max_length=100)] | None,
        Field(description="Add these quantiles of the relevance.", examples=[[0.1, 0.9]]),
    ] = None


class RankOptions(ResultOptions):
    """What belongs to one query, beside its documents."""

    query: QueryText
    top_n: Annotated[Count | None, Field(description="How many results to return, the best ones; absent, all.")] = None
    min_score: Annotated[
        float | None, Field(ge=0, le=1, description="Leave out results below this; applied before `top_n`.")
    ] = None
    min_tier: Annotated[
        Tier | None, Field(description="Leave out results that do not reach this tier; applied before `top_n`.")
    ] = None
    return_rank_confidence: Annotated[
        bool, Field(description="Add how likely the first result is the best of those returned.")
    ] = False
    return_documents: Annotated[bool | None, Field(description="Repeat each document in its result.")] = None
    rank_fields: RankFields = None


class Relevance(BaseModel):
    """What the model says of one pair."""

    mean: Annotated[float, Field(description="The expected relevance: the score.", ge=0, le=1)]
    std: Annotated[float, Field(description="The standard deviation: how unsure the model is.", ge=0)]
    tier: Annotated[Tier | None, Field(description="By the checkpoint's thresholds, where it has them.")] = None
    quantiles: Annotated[
        dict[str, float] | None, Field(description="By level, as asked.", examples=[{"0.1": 0.6, "0.9": 0.9}])
    ] = None
    distribution: Annotated[list[float] | None, Field(description="The probabilities of the eleven bins.")] = None
    note: Annotated[
        str | None, Field(description="Why the pair was not scored, where it was not.", examples=[NO_TEXT])
    ] = None


class RerankResult(Relevance):
    """One document with its relevance."""

    index: Annotated[int, Field(description="The document's place in the request.")]
    relevance_score: Annotated[float, Field(description="The mean.", ge=0, le=1)]
    document: Annotated[dict[str, Any] | None, Field(description="The document; a string as `{text}`.")] = None


class RankingVerdict(BaseModel):
    """What is said of a ranking as a whole."""

    no_good_match: Annotated[
        bool | None,
        Field(description="Whether no document reaches the tier `close`; absent where the checkpoint has no tiers."),
    ] = None
    rank_confidence: Annotated[
        float | None,
        Field(description="The probability that no other result is more relevant than the first.", ge=0, le=1),
    ] = None
    near_tie: Annotated[
        bool | None, Field(description="Whether another result is more relevant almost as often as the first is.")
    ] = None


class Usage(BaseModel):
    """What was read: the tokens of all prompts, cached ones included. vLLM's clients look for the first name."""

    prompt_tokens: int
    total_tokens: int


class OpenAIUsage(Usage):
    """The tokens that were read and made."""

    completion_tokens: int = 0


class OpenAIResponse(BaseModel):
    """What OpenAI's clients expect around the results; `object` says what these are."""

    id: str
    object: str
    created: Annotated[int, Field(description="In seconds since 1970.")]
    model: str


def relevances(options: ResultOptions, answer: Answer, rows: slice = slice(None)) -> list[Relevance]:
    """Return what is known of each pair, in order.

    Args:
        options: what the client asked for.
        answer: to the whole request.
        rows: the part of it that is wanted.

    Example:
        >>> import numpy as np
        >>> from gen_rerank import Distribution
        >>> answer = Answer("base", Distribution(np.eye(11)[[9]]), 40, 0, 0, {"exact": 0.8, "close": 0.5})
        >>> relevances(ResultOptions(), answer)[0].tier
        'exact'
    """
    scored = answer.scored[rows]
    levels = options.return_quantiles
    quantiles = {str(level): scored.quantile(level).round(1).tolist() for level in levels or ()}
    of_rows = tiers(scored.mean, answer.thresholds)
    blanks = {i - (rows.start or 0) for i in answer.blanks}
    return [
        Relevance(
            mean=mean,
            std=std,
            tier=of_rows[i],
            quantiles=None if levels is None else {level: values[i] for level, values in quantiles.items()},
            distribution=row.tolist() if options.return_distribution else None,
            note=NO_TEXT if i in blanks else None,
        )
        for i, (mean, std, row) in enumerate(
            zip(scored.mean.tolist(), scored.std.tolist(), scored.probabilities, strict=True)
        )
    ]


def by_relevance(rows: Sequence[Relevance]) -> list[int]:
    """Return the places of rows, the best first, those that were not scored last; equal ones stay in order.

    Example:
        >>> by_relevance([Relevance(mean=0, std=0, note=NO_TEXT), Relevance(mean=0, std=0), Relevance(mean=1, std=0)])
        [2, 1, 0]
    """
    return best_first([row.mean if row.note is None else -1.0 for row in rows])


def ranked(options: RankOptions, documents: Sequence[Document], rows: Sequence[Relevance]) -> list[RerankResult]:
    """Return the results of one query, best first.

    Args:
        options: what the client asked for.
        documents: of this query.
        rows: one for each of them.
    """
    order = by_relevance(rows)
    if options.min_score is not None:
        order = [i for i in order if at_least(rows[i].mean, options.min_score)]
    if options.min_tier is not None:
        reached = TIERS[: TIERS.index(options.min_tier) + 1]
        order = [i for i in order if rows[i].tier in reached]
    return [
        RerankResult(
            **dict(rows[i]),
            index=i,
            relevance_score=rows[i].mean,
            document=_echo(documents[i]) if options.return_documents else None,
        )
        for i in order[: options.top_n or None]
    ]


def verdict(
    options: RankOptions, answer: Answer, results: Sequence[RerankResult], rows: slice = slice(None)
) -> RankingVerdict:
    """Return what is said of a ranking as a whole.

    Args:
        options: what the client asked for.
        answer: to the whole request.
        results: of the ranking, as they are returned.
        rows: the part of the answer that was ranked.
    """
    scored = answer.scored.probabilities[rows]
    sure = rank_confidence([scored[one.index] for one in results]) if options.return_rank_confidence else None
    return RankingVerdict(
        no_good_match=without_good_match(answer, rows),
        rank_confidence=None if sure is None else sure.first_is_best,
        near_tie=None if sure is None else sure.near_tie,
    )


def without_good_match(answer: Answer, rows: slice = slice(None)) -> bool | None:
    """Return whether no document that was scored reaches `close`; None where the checkpoint has no tiers."""
    places = range(len(answer.scored))[rows]
    return no_good_match(
        [answer.scored.mean[place] for place in places if place not in answer.blanks], answer.thresholds
    )


def _echo(document: Document) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document
