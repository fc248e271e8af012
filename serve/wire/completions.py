"""OpenAI's shape: `POST /v1/completions` with `max_tokens=1`, so that any OpenAI client reads the distribution.

The one token of the completion is the most probable bin token, and its `top_logprobs` are the bins. A prompt is
either two named parts,

    Query: oak desk
    Product: Oak writing desk

(or `Document:`; a JSON object stands for a product; a first line `Instruction:` may come before), or a prompt that the
client rendered with the checkpoint's template.
"""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from gen_rerank.bins import BIN_COUNT, BIN_TOKENS, best_first
from gen_rerank.calibration.tiers import Tier
from gen_rerank.data.cleaning import mend
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.data.records import Pair
from serve.question import Answer, Question, Refusal, RenderedPrompt
from serve.wire.bodies import check_size
from serve.wire.documents import Document, check_query, product
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, WireRequest, only
from serve.wire.results import OpenAIResponse, OpenAIUsage, ResultOptions, relevances

# The prompt of named parts is cut by its fields' budgets; a rendered one is tokenized as it is.
MAX_PROMPT_CHARACTERS = 100_000

# What OpenAI's clients expect for a probability of 0.
NO_PROBABILITY = -9999.0

# An object begins like this; "{17 inch} rim" is a title.
_OBJECT = re.compile(r'\{\s*["}]')
_PARTS = re.compile(
    r"(?:Instruction:(?P<instruction>[^\n]*)\n)?Query:(?P<query>[^\n]*)\n(?:Product|Document):(?P<product>.*)",
    re.DOTALL,
)


class CompletionRequest(WireRequest):
    """The body of `POST /v1/completions`: relevance as the log-probabilities of one token."""

    prompt: Annotated[
        str | Annotated[list[str], Field(fail_fast=True)],
        Field(
            description="One pair or several, each as the lines `Query: …` and `Product: …` or as a rendered prompt.",
            examples=["Query: oak desk\nProduct: Oak writing desk"],
        ),
    ]
    max_tokens: Annotated[
        int | None,
        Field(description="1: the answer is one token.", examples=[1], json_schema_extra={"enum": [1, None]}),
    ] = None
    logprobs: Annotated[
        int | None,
        Field(
            description=f"How many bins to return, the most probable ones: 0 to {BIN_COUNT}.",
            examples=[11],
            json_schema_extra={"minimum": 0, "maximum": BIN_COUNT},
        ),
    ] = None
    n: Annotated[int | None, Field(description="1.", json_schema_extra={"enum": [1, None]})] = None
    best_of: Annotated[int | None, Field(description="1.", json_schema_extra={"enum": [1, None]})] = None
    stream: Annotated[bool | None, Field(description="false.", json_schema_extra={"enum": [False, None]})] = None
    echo: Annotated[bool | None, Field(description="false.", json_schema_extra={"enum": [False, None]})] = None
    suffix: Annotated[str | None, Field(description="None.", json_schema_extra=only(""))] = None
    logit_bias: Annotated[
        dict[str, float] | None, Field(description="None: the bins are read as they are.", json_schema_extra=only({}))
    ] = None
    truncate_prompt_tokens: Annotated[
        int | None, Field(description="-1; `/v1/score` takes others.", json_schema_extra=only(-1))
    ] = None

    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return one item a prompt.

        Raises:
            Refusal: an option that one token cannot honour, no prompts or too many, prompts with different
                instructions, or a prompt that lacks a part.
        """
        self._check_options()
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not prompts:
            raise Refusal(422, "prompt is empty; give at least one")
        check_size("prompt", len(prompts), max_documents, "entries")
        read = [_read(prompt, i) for i, prompt in enumerate(prompts)]
        instructions = {instruction for item, instruction in read if isinstance(item, Pair)}
        if len(instructions) > 1:
            raise Refusal(422, "the prompts have different instructions; a request has one for all")
        return Question(items=[item for item, _ in read], model=self.model, instruction=next(iter(instructions), None))

    def _check_options(self) -> None:
        for name, wanted in (("max_tokens", 1), ("n", 1), ("best_of", 1), ("stream", False), ("echo", False)):
            given = getattr(self, name)
            if given not in (None, wanted):
                raise Refusal(
                    422, f"{name} must be {str(wanted).lower()} or absent: the answer is one token, in one piece"
                )
        for name, none in (("suffix", ""), ("logit_bias", {}), ("truncate_prompt_tokens", -1)):
            if getattr(self, name) not in (None, none):
                raise Refusal(
                    422, f"{name} must be {json.dumps(none)} or absent: prompts and bins are read as they are"
                )
        if self.logprobs is not None and not 0 <= self.logprobs <= BIN_COUNT:
            raise Refusal(422, f"logprobs must be from 0 to {BIN_COUNT}: there is one for each bin")


class Logprobs(BaseModel):
    """The log-probabilities of the one token, in lists as long as the completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: Annotated[
        list[dict[str, float]],
        Field(description=f"By bin token: natural logarithms of calibrated probabilities; {NO_PROBABILITY} for none."),
    ]
    text_offset: list[int]


class Extras(BaseModel):
    """What a plain client would compute from the log-probabilities."""

    score: float
    std: float
    tier: Tier | None = None


class Choice(BaseModel):
    """The completion of one prompt."""

    index: int
    text: Annotated[str, Field(description="The most probable bin token.", examples=[BIN_TOKENS[9]])]
    finish_reason: Literal["length"] = "length"
    logprobs: Logprobs | None = None
    gen_rerank: Extras


class CompletionResponse(OpenAIResponse):
    """The answer of `POST /v1/completions`."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[Choice]
    usage: OpenAIUsage


def answer_completions(request: CompletionRequest, answer: Answer) -> CompletionResponse:
    """Return the answer, one choice a prompt, in order."""
    rows = relevances(ResultOptions(), answer)
    choices = [
        Choice(
            index=i,
            text=BIN_TOKENS[int(probabilities.argmax())],
            logprobs=None if request.logprobs is None else logprobs(probabilities, request.logprobs),
            gen_rerank=Extras(score=row.mean, std=row.std, tier=row.tier),
        )
        for i, (row, probabilities) in enumerate(zip(rows, answer.scored.probabilities, strict=True))
    ]
    usage = OpenAIUsage(
        prompt_tokens=answer.tokens, completion_tokens=len(choices), total_tokens=answer.tokens + len(choices)
    )
    return CompletionResponse(
        id=f"cmpl-{uuid4().hex}", created=int(time.time()), model=answer.model, choices=choices, usage=usage
    )


def logprobs(probabilities: npt.ArrayLike, count: int) -> Logprobs:
    """Return the log-probabilities of the `count` most probable bins.

    Example:
        >>> logprobs([0.0] * 10 + [1.0], 2).top_logprobs
        [{'<|rel_10|>': 0.0, '<|rel_0|>': -9999.0}]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    logs = np.where(p > 0, np.log(np.where(p > 0, p, 1.0)), NO_PROBABILITY).tolist()
    order = best_first(p)
    return Logprobs(
        tokens=[BIN_TOKENS[order[0]]],
        token_logprobs=[logs[order[0]]],
        top_logprobs=[{BIN_TOKENS[k]: logs[k] for k in order[:count]}],
        text_offset=[0],
    )


def _read(prompt: str, number: int) -> tuple[Pair | RenderedPrompt, str | None]:
    """Return what a prompt asks, and the instruction it carries."""
    place = f"prompt.{number}"
    parts = _PARTS.fullmatch(prompt)
    if parts is None:
        check_size(place, len(prompt), MAX_PROMPT_CHARACTERS, "characters")
        return RenderedPrompt(prompt), None
    query, instruction = parts["query"].strip(), parts["instruction"]
    check_query(query, f"{place}.query")
    pair = Pair(query, product(_document(parts["product"].strip(), place), f"{place}.product", number))
    return pair, None if instruction is None else instruction.strip()


def _document(text: str, place: str) -> Document:
    if not _OBJECT.match(text):
        return text
    try:
        document: dict[str, object] = read_json(mend(text).encode())
    except NotJson as error:
        raise Refusal(422, f"{place}.product is {error}") from error
    return document
