"""OpenAI's shape of typed questions: `POST /v1/decisions`, so that `client.decisions.create` works unchanged.

A `score` is the eleven bins shared out onto the question's levels, a `predicate` the mass above a relevance, a `choice`
the tiers where its values are their names; any other choice is refused by itself. Where query and product stand is
`standing`'s business, what the distribution says `graded`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, Discriminator, Field, StrictBool, StrictStr, Tag

from gen_rerank.bins import Distribution
from gen_rerank.calibration.tiers import Tier
from serve.question import Answer, Refusal
from serve.wire.bodies import TAG, check_size
from serve.wire.completions import Extras
from serve.wire.graded import (
    Meaning,
    are_tiers,
    choice_confidence,
    meaning,
    score_confidence,
    tier_shares,
    yes,
)
from serve.wire.results import Relevance, ResultOptions, relevances
from serve.wire.said import Objects
from serve.wire.standing import MAX_QUESTIONS, Given, GradedRequest, Posed

# The API's own limits.
MIN_OPTIONS = 2
MAX_LEVELS = 10
MAX_CHOICES = 255

Instructions = Annotated[
    str | dict[str, Any] | Objects,
    Field(
        description="The product, where the input is the query; the query, where the input is a product; else only "
        "words. A text, a list of parts (`input_text`, `input_json`), or an object. Words around a product that the "
        "server was given as a phrase are taken off.",
        examples=["Oak writing desk"],
    ),
]


class TypedQuestion(BaseModel):
    """What all types of questions have."""

    name: Annotated[str | None, Field(description="Comes back with the answer.")] = None
    instructions: Instructions


class PredicateQuestion(TypedQuestion):
    """Whether the product is relevant to the query."""

    type: Literal["predicate"]
    threshold: Annotated[
        Meaning | None,
        Field(
            description="What a yes means: `close`, a relevance of 0.5 or more, or `exact`, 0.8 or more. Absent, "
            "`exact` where that is the question's name, else `close`."
        ),
    ] = None


class Level(BaseModel):
    """One level of a score. Its words are not read: the lowest level is irrelevant, the highest what was asked for."""

    label: str
    description: str | None = None


class ScoreQuestion(TypedQuestion):
    """How relevant the product is to the query, on ordered levels, the lowest first."""

    type: Literal["score"]
    levels: Annotated[
        list[Level],
        Field(
            fail_fast=True,
            examples=[[{"label": "irrelevant"}, {"label": "close"}, {"label": "exact"}]],
            json_schema_extra={"minItems": MIN_OPTIONS, "maxItems": MAX_LEVELS},
        ),
    ]


class Option(BaseModel):
    """One value of a choice."""

    value: StrictStr | StrictBool
    description: str | None = None


class ChoiceQuestion(TypedQuestion):
    """Which tier the product is for the query; a choice of other values is refused by itself."""

    type: Literal["choice"]
    choices: Annotated[
        list[Option],
        Field(
            fail_fast=True,
            examples=[[{"value": "exact"}, {"value": "close"}, {"value": "irrelevant"}]],
            json_schema_extra={"minItems": MIN_OPTIONS, "maxItems": MAX_CHOICES},
        ),
    ]


def type_tag(given: Any) -> str | None:
    """Return the tag of a question's type, for pydantic's union of them; None where it names no type."""
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return f"{TAG}{kind}" if isinstance(kind, str) else None


DecisionQuestion = Annotated[
    Annotated[PredicateQuestion, Tag(f"{TAG}predicate")]
    | Annotated[ScoreQuestion, Tag(f"{TAG}score")]
    | Annotated[ChoiceQuestion, Tag(f"{TAG}choice")],
    Discriminator(
        type_tag,
        custom_error_type="question_type",
        custom_error_message="The type must be predicate, score or choice",
    ),
]


class DecisionRequest(GradedRequest):
    """The body of `POST /v1/decisions`."""

    input: Annotated[
        str | dict[str, Any] | Objects,
        Field(
            description="The query, as a text or as messages of the roles user, system and developer, the last two "
            "being the instruction. Or an object with a `product` (then each question is a query), or with `query` and "
            "`product` (then the questions only name what is asked): as it is, as an `input_json` part, or as text.",
            examples=["oak desk"],
        ),
    ]
    questions: Annotated[
        list[DecisionQuestion],
        Field(
            fail_fast=True,
            description="They are answered in their order, each as if it stood alone.",
            examples=[[{"type": "predicate", "instructions": "Oak writing desk"}]],
            json_schema_extra={"minItems": 1, "maxItems": MAX_QUESTIONS},
        ),
    ]

    def about(self) -> tuple[str, Given]:
        """Return the input."""
        return "input", self.input

    def posed(self) -> list[Posed]:
        """Return the questions; a choice of anything but the tiers has no answer.

        Raises:
            Refusal: too few or too many levels or choices, or a choice that stands twice.
        """
        return [self._posed(question, f"questions.{i}") for i, question in enumerate(self.questions)]

    @staticmethod
    def _posed(question: DecisionQuestion, place: str) -> Posed:
        answered = True
        if isinstance(question, ScoreQuestion):
            check_options(f"{place}.levels", len(question.levels), MAX_LEVELS)
        elif isinstance(question, ChoiceQuestion):
            values = [option.value for option in question.choices]
            check_options(f"{place}.choices", len(values), MAX_CHOICES)
            # A text and a boolean are never the same value.
            if len({(type(value), value) for value in values}) < len(values):
                raise Refusal(422, f"{place}.choices has a value twice")
            answered = are_tiers(values)
        return Posed(f"{place}.instructions", question.instructions, answered)


def check_options(place: str, count: int, most: int) -> None:
    """Check how many levels or choices a question has.

    Raises:
        Refusal: too few or too many.
    """
    if count < MIN_OPTIONS:
        raise Refusal(422, f"{place} has {count} entries; give at least {MIN_OPTIONS}")
    check_size(place, count, most, "entries")


class TypedAnswer(BaseModel):
    """What all answers have."""

    name: Annotated[str | None, Field(description="The question's; null where it has none.")]


class GradedAnswer(TypedAnswer):
    """What all answers but refusals have."""

    gen_rerank: Annotated[Extras, Field(description="The relevance of the pair, whatever was asked of it.")]


class PredicateAnswer(GradedAnswer):
    """How likely a yes is."""

    type: Literal["predicate"] = "predicate"
    probability: Annotated[float, Field(ge=0, le=1)]


class LevelProbability(BaseModel):
    """How likely a level is."""

    value: Annotated[int, Field(description="The level's place, from 0.")]
    label: str
    probability: Annotated[float, Field(ge=0, le=1)]


class ScoreAnswer(GradedAnswer):
    """The mean of the levels' places."""

    type: Literal["score"] = "score"
    score: Annotated[float, Field(description="From 0 to the number of levels less one.", ge=0, le=MAX_LEVELS - 1)]
    confidence: Annotated[
        float, Field(description="How near the mass lies to the most probable level: 1 for all on it.", ge=0, le=1)
    ]
    probabilities: list[LevelProbability]


class OptionProbability(BaseModel):
    """How likely a value is."""

    value: str | bool
    probability: Annotated[float, Field(ge=0, le=1)]


class ChoiceAnswer(GradedAnswer):
    """The most probable tier."""

    type: Literal["choice"] = "choice"
    choice: str | bool
    confidence: Annotated[float, Field(description="(max p − 1/k) / (1 − 1/k) for k values.", ge=0, le=1)]
    probabilities: list[OptionProbability]


class RefusedAnswer(TypedAnswer):
    """The model has no answer to this question; others are answered."""

    type: Literal["refusal"] = "refusal"


class InputDetails(BaseModel):
    """Where the tokens of the input came from."""

    cached_tokens: Annotated[int, Field(description="In the prefix cache, or of a prompt whose score is known.")]
    cache_write_tokens: Annotated[int, Field(description="0: writing to the caches is not counted.")] = 0


class OutputDetails(BaseModel):
    """What the tokens of the output were for."""

    reasoning_tokens: int = 0


class DecisionUsage(BaseModel):
    """The tokens that were read; none are made."""

    input_tokens: Annotated[int, Field(description="Of all prompts, one a question.")]
    input_tokens_details: InputDetails
    output_tokens: int = 0
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


DecisionAnswer = PredicateAnswer | ScoreAnswer | ChoiceAnswer | RefusedAnswer


class Decision(BaseModel):
    """The answer of `POST /v1/decisions`."""

    model: str
    answers: Annotated[list[DecisionAnswer], Field(description="One a question, in order.")]
    usage: DecisionUsage


def answer_decisions(request: DecisionRequest, answer: Answer) -> Decision:
    """Return one answer a question, in order."""
    rows = relevances(ResultOptions(), answer)
    answers = [
        RefusedAnswer(name=question.name) if i in answer.blanks else _answered(question, answer.scored[[i]], row)
        for i, (question, row) in enumerate(zip(request.questions, rows, strict=True))
    ]
    usage = DecisionUsage(
        input_tokens=answer.tokens,
        input_tokens_details=InputDetails(cached_tokens=answer.cached_tokens),
        total_tokens=answer.tokens,
    )
    return Decision(model=answer.model, answers=answers, usage=usage)


def _answered(question: DecisionQuestion, scored: Distribution, row: Relevance) -> DecisionAnswer:
    """Return the answer to a question about one pair."""
    extras = Extras(score=row.mean, std=row.std, tier=row.tier)
    if isinstance(question, PredicateQuestion):
        (probability,) = yes(scored, meaning(question.threshold, question.name))
        return PredicateAnswer(name=question.name, probability=probability, gen_rerank=extras)
    if isinstance(question, ScoreQuestion):
        shares, score = on_levels(scored, len(question.levels))
        return ScoreAnswer(
            name=question.name,
            score=score,
            confidence=score_confidence(shares),
            probabilities=[
                LevelProbability(value=i, label=level.label, probability=share)
                for i, (level, share) in enumerate(zip(question.levels, shares, strict=True))
            ],
            gen_rerank=extras,
        )
    (of_tiers,) = tier_shares(scored)
    # Only a choice of the tiers' names is answered.
    listed = {value: of_tiers[value] for value in cast(Sequence[Tier], [each.value for each in question.choices])}
    return ChoiceAnswer(
        name=question.name,
        choice=max(listed, key=lambda tier: listed[tier]),
        confidence=choice_confidence(list(listed.values())),
        probabilities=[OptionProbability(value=value, probability=share) for value, share in listed.items()],
        gen_rerank=extras,
    )


def on_levels(scored: Distribution, count: int) -> tuple[list[float], float]:
    """Return the probabilities of the levels for one pair, and the mean of their places.

    Example:
        >>> import numpy as np
        >>> on_levels(Distribution(np.eye(11)[[5]]), 3)
        ([0.0, 1.0, 0.0], 1.0)
    """
    shares: list[float] = scored.levels(count)[0].tolist()
    return shares, min(sum(place * share for place, share in enumerate(shares)), float(count - 1))
