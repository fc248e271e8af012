"""The wire formats: a body of a service that people's clients know becomes a `Question`, an `Answer` becomes its reply.

Everything that a client can do wrong in a body is found here and becomes a `Refusal` of one sentence. What runs the
model, and how requests travel, is elsewhere.
"""

from serve.question import Refusal
from serve.wire.batch import BatchRequest, BatchResponse
from serve.wire.bodies import MAX_DOCUMENTS, WireRequest, parse
from serve.wire.cohere import CohereRequest, CohereResponse
from serve.wire.completions import CompletionRequest, CompletionResponse
from serve.wire.dialect import (
    BATCH,
    COHERE,
    COMPLETIONS,
    JINA,
    SCORE,
    TEI,
    Dialect,
    ErrorBody,
    error_for,
    rerank_dialect,
    status_for,
)
from serve.wire.jina import JinaRequest, JinaResponse
from serve.wire.score import ScoreRequest, ScoreResponse
from serve.wire.tei import TeiRequest, TeiResponse

__all__ = [
    "BATCH",
    "COHERE",
    "COMPLETIONS",
    "JINA",
    "MAX_DOCUMENTS",
    "SCORE",
    "TEI",
    "BatchRequest",
    "BatchResponse",
    "CohereRequest",
    "CohereResponse",
    "CompletionRequest",
    "CompletionResponse",
    "Dialect",
    "ErrorBody",
    "JinaRequest",
    "JinaResponse",
    "Refusal",
    "ScoreRequest",
    "ScoreResponse",
    "TeiRequest",
    "TeiResponse",
    "WireRequest",
    "error_for",
    "parse",
    "rerank_dialect",
    "status_for",
]
