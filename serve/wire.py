"""The shapes of requests and answers: Jina's `/v1/rerank` and Cohere's `/v2/rerank`, with what we add to both.

A document is a string or a product object; each result also carries the standard deviation and, on request, the whole
distribution. Everything that a client can do wrong is found here and becomes a `Refusal` with a status and one
sentence. What runs the model, and how the sentence is wrapped in JSON, is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.bins import Distribution
from gen_rerank.records import Pair, Product
from gen_rerank.reranker import best_first, results

# Bounds on the work that one request can cause. The prompt cuts a query to its budget of tokens long before this.
MAX_DOCUMENTS = 1024
MAX_QUERY_CHARACTERS = 10_000
MAX_INSTRUCTION_CHARACTERS = 10_000
MAX_BODY_BYTES = 32 * 2**20

_PRODUCT_FIELDS = tuple(Product.model_fields)
_SHOWN = 60


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: of the HTTP response, 4xx.
        sentence: what is wrong, for the person who reads the client's log.
    """

    def __init__(self, status: int, sentence: str) -> None:
        """Take the status and the sentence."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class RerankRequest(BaseModel):
    """What both shapes have in common. Fields that we do not know are ignored, as clients send many.

    Attributes:
        query: what the shopper typed.
        documents: titles, or product objects with a `title` (an object with only a `text` is a title too).
        model: the served name; absent means the one that is served.
        top_n: how many results to return, the best ones; absent means all.
        return_documents: repeat each document in its result.
        return_distribution: add the probabilities of the eleven bins to each result.
        instruction: replaces the checkpoint's own.
        max_tokens_per_doc: accepted because clients send it; the checkpoint's budgets decide how much is read.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    query: str
    documents: list[str | dict[str, Any]]
    model: str | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    return_distribution: bool = False
    instruction: str | None = None
    max_tokens_per_doc: Annotated[int, Field(ge=1)] | None = None

    def pairs(self) -> list[Pair]:
        """Return one pair a document, in order.

        Raises:
            Refusal: no query, no documents, too much of either, or a document that is not a product.
        """
        if not self.query.strip():
            raise Refusal(422, "query has no text")
        _bound("query", len(self.query), MAX_QUERY_CHARACTERS, "characters")
        _bound("instruction", len(self.instruction or ""), MAX_INSTRUCTION_CHARACTERS, "characters")
        if not self.documents:
            raise Refusal(422, "documents is empty; give at least one")
        _bound("documents", len(self.documents), MAX_DOCUMENTS, "entries")
        return [Pair(self.query, _product(document, index)) for index, document in enumerate(self.documents)]


class JinaRequest(RerankRequest):
    """The body of `POST /v1/rerank`."""


class CohereRequest(RerankRequest):
    """The body of `POST /v2/rerank`."""


class RerankResult(BaseModel):
    """One document with its relevance."""

    index: int
    relevance_score: float
    std: float
    distribution: list[float] | None = None
    document: dict[str, Any] | None = None


class Usage(BaseModel):
    """What was computed: the tokens of all prompts."""

    total_tokens: int


class JinaResponse(BaseModel):
    """The answer of `POST /v1/rerank`."""

    model: str
    usage: Usage
    results: list[RerankResult]


class ApiVersion(BaseModel):
    """Cohere's version of the shape."""

    version: str = "2"


class BilledUnits(BaseModel):
    """Cohere's unit of billing: one search a request."""

    search_units: int = 1


class Meta(BaseModel):
    """What Cohere's clients expect beside the results."""

    api_version: ApiVersion = ApiVersion()
    billed_units: BilledUnits = BilledUnits()


class CohereResponse(BaseModel):
    """The answer of `POST /v2/rerank`."""

    id: str
    results: list[RerankResult]
    meta: Meta = Meta()


Shape = TypeVar("Shape", bound=RerankRequest)


def parse(body: bytes, shape: type[Shape]) -> Shape:
    """Return the request in a body.

    Raises:
        Refusal: 400 when it is not JSON, 422 when a field is missing or has a wrong type.

    Example:
        >>> parse(b'{"query": "oak desk", "documents": ["Oak desk"]}', JinaRequest).query
        'oak desk'
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        # A document that is neither a string nor an object fails twice, at the same place; the first says enough.
        raise _refusal(error.errors(include_url=False)[0]) from error


def ranked(request: RerankRequest, pairs: Sequence[Pair], scored: Distribution) -> list[RerankResult]:
    """Return the results of a request, best first; ties stay in the order of the documents."""
    best = best_first(results([pair.product for pair in pairs], scored))[: request.top_n]
    return [
        RerankResult(
            index=result.index,
            relevance_score=result.score,
            std=result.std,
            distribution=result.distribution.tolist() if request.return_distribution else None,
            document=_echo(request.documents[result.index]) if request.return_documents else None,
        )
        for result in best
    ]


def _product(document: str | dict[str, Any], index: int) -> Product:
    if isinstance(document, dict) and set(document) == {"text"}:
        document = document["text"]
    if isinstance(document, dict) and "title" not in document:
        raise Refusal(422, f"documents.{index} has no title; a document is a string or an object with a title")
    if not isinstance(document, str | dict):
        raise Refusal(422, f"documents.{index}.text is not a string")
    if isinstance(document, str) and not document.strip():
        raise Refusal(422, f"documents.{index} has no text")
    if isinstance(document, dict) and (unknown := sorted(set(document) - set(_PRODUCT_FIELDS))):
        raise Refusal(
            422,
            f"documents.{index} has an unknown field {_short(unknown[0])!r}; it may have {', '.join(_PRODUCT_FIELDS)}",
        )
    fields = {"title": document} if isinstance(document, str) else document
    try:
        return Product.model_validate({"product_id": str(index), **fields})
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], f"documents.{index}.") from error


def _echo(document: str | dict[str, Any]) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def _bound(name: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        raise Refusal(422, f"{name} has {size} {unit}; the limit is {limit}")


def _refusal(error: Any, place: str = "") -> Refusal:
    if error["type"] == "json_invalid":
        return Refusal(400, f"the body is not valid JSON: {error['ctx']['error']}")
    # A document's place ends with the name of the union's member ("str", "dict[…]"): two parts say where it is.
    where = place + ".".join(str(part) for part in error["loc"][:2])
    if not where:
        return Refusal(422, "the body is not a JSON object")
    if error["type"] == "missing":
        return Refusal(422, f"{where} is missing")
    if error["loc"][0] == "documents" and len(error["loc"]) > 1:
        return Refusal(422, f"{where} is neither a string nor an object")
    reason = error["msg"][0].lower() + error["msg"][1:]
    return Refusal(422, f"{where}: {reason}, but it is {_short(repr(error['input']))}")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
