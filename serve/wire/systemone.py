"""TypeSafe's shape of typed questions: `POST /v1/systemone`, OpenAI's elder, with maps where that has lists.

`state` is what `input` is there, `criteria` what `levels` are, and a `noul` is a predicate. Each question is about one
pair: what would compare several documents is refused by name. `choice` is not spoken here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag
from pydantic_core import to_json

from gen_rerank.bins import Distribution
from serve.question import Answer
from serve.wire.bodies import TAG
from serve.wire.decisions import MAX_LEVELS, MIN_OPTIONS, check_options, on_levels, type_tag
from serve.wire.graded import Meaning, meaning, score_confidence, yes
from serve.wire.said import Objects
from serve.wire.standing import Given, GradedRequest, Posed

Structured = Annotated[
    str | dict[str, Any] | Objects | None,
    Field(description="The product, where the state is the query, and the other way round; else only words."),
]


class NoulQuestion(BaseModel):
    """Whether the product is relevant to the query."""

    type: Literal["noul"]
    instructions: Structured = None
    threshold: Annotated[
        Meaning | None,
        Field(description="What a yes means. Absent, `exact` where that is the question's key, else `close`."),
    ] = None


class LevelsQuestion(BaseModel):
    """How relevant the product is to the query, on ordered levels, the lowest first."""

    type: Literal["score"]
    instructions: Structured = None
    criteria: Annotated[
        list[Any],
        Field(
            description="The levels; their words are not read.",
            examples=[["irrelevant", "close", "exact"]],
            json_schema_extra={"minItems": MIN_OPTIONS, "maxItems": MAX_LEVELS},
        ),
    ]


SystemOneQuestion = Annotated[
    Annotated[NoulQuestion, Tag(f"{TAG}noul")] | Annotated[LevelsQuestion, Tag(f"{TAG}score")],
    Discriminator(
        type_tag,
        custom_error_type="question_type",
        custom_error_message="The type must be noul or score; a choice is answered at /v1/decisions, if it is of tiers",
    ),
]


class SystemOneRequest(GradedRequest):
    """The body of `POST /v1/systemone`."""

    state: Annotated[
        str | dict[str, Any] | Objects,
        Field(
            description="The query, or an object with `query`, `product` (or `document`) or both.",
            examples=[{"query": "oak desk", "document": "Oak writing desk"}],
        ),
    ]
    questions: Annotated[
        dict[str, SystemOneQuestion],
        Field(
            description="By key, each answered as if it stood alone.",
            examples=[{"relevant": {"type": "noul", "instructions": "Does `document` help answer `query`?"}}],
            json_schema_extra={"minProperties": 1, "maxProperties": 400},
        ),
    ]

    def about(self) -> tuple[str, Given]:
        """Return the state."""
        return "state", self.state

    def posed(self) -> list[Posed]:
        """Return the questions.

        Raises:
            Refusal: too few or too many levels.
        """
        for i, question in enumerate(self.questions.values()):
            if isinstance(question, LevelsQuestion):
                check_options(f"questions.{i}.criteria", len(question.criteria), MAX_LEVELS)
        # By number: a key is the client's, and may be anything.
        return [
            Posed(f"questions.{i}.instructions", question.instructions)
            for i, question in enumerate(self.questions.values())
        ]


class NoulAnswer(BaseModel):
    """How likely a yes is."""

    type: Literal["noul"] = "noul"
    noul: Annotated[float, Field(ge=0, le=1)]


class LevelsAnswer(BaseModel):
    """The mean of the levels' places, which are keys from `0`."""

    type: Literal["score"] = "score"
    score: Annotated[float, Field(ge=0, le=MAX_LEVELS - 1)]
    legend: dict[str, str]
    probabilities: dict[str, float]
    confidence: Annotated[float, Field(ge=0, le=1)]


class SystemOneUsage(BaseModel):
    """The tokens that were read; none are made."""

    input_tokens: int
    output_tokens: int = 0


class SystemOneResponse(BaseModel):
    """The answer of `POST /v1/systemone`."""

    model: str
    answers: dict[str, NoulAnswer | LevelsAnswer]
    usage: SystemOneUsage


def answer_systemone(request: SystemOneRequest, answer: Answer) -> SystemOneResponse:
    """Return one answer a question, by its key; a document without text is sure to be irrelevant, by decree."""
    answers = {
        key: _answered(key, question, answer.scored[[i]]) for i, (key, question) in enumerate(request.questions.items())
    }
    return SystemOneResponse(model=answer.model, answers=answers, usage=SystemOneUsage(input_tokens=answer.tokens))


def _answered(key: str, question: SystemOneQuestion, scored: Distribution) -> NoulAnswer | LevelsAnswer:
    if isinstance(question, NoulQuestion):
        return NoulAnswer(noul=yes(scored, meaning(question.threshold, key))[0])
    shares, score = on_levels(scored, len(question.criteria))
    legend = [level if isinstance(level, str) else to_json(level).decode() for level in question.criteria]
    return LevelsAnswer(
        score=score,
        legend={str(place): level for place, level in enumerate(legend)},
        probabilities={str(place): share for place, share in enumerate(shares)},
        confidence=score_confidence(shares),
    )
