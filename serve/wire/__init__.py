"""The wire formats: a body of a service that people's clients know becomes a `Question`, an `Answer` becomes its reply.

Everything that a client can do wrong in a body is found here and becomes a `Refusal` of one sentence. What runs the
model, and how requests travel, is elsewhere.
"""

from serve.wire.bodies import parse, read_json, validated
from serve.wire.dialect import (
    BATCH,
    COHERE,
    COMPLETIONS,
    DECISIONS,
    JINA,
    SCORE,
    SYSTEMONE,
    TEI,
    VLLM,
    Dialect,
    rerank_dialect,
)
from serve.wire.errors import ErrorShape, errors_for
from serve.wire.requests import WireRequest

__all__ = [
    "BATCH",
    "COHERE",
    "COMPLETIONS",
    "DECISIONS",
    "JINA",
    "SCORE",
    "SYSTEMONE",
    "TEI",
    "VLLM",
    "Dialect",
    "ErrorShape",
    "WireRequest",
    "errors_for",
    "parse",
    "read_json",
    "rerank_dialect",
    "validated",
]
