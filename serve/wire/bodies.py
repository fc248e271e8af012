"""From the bytes of a body to a request model, or to a refusal of one sentence.

Every sentence about a body is made here or with the helpers of this module: it says what is wrong and where, stays on
one line, and repeats at most a few characters of what the client sent. What the fields mean is the dialects' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gen_rerank.data import json_text
from gen_rerank.data.values import shown
from serve.question import Refusal

# What pydantic calls the members of our unions, at the end of an error's place.
_KINDS = {
    "str": "a string",
    "bool": "true or false",
    "dict[str,any]": "an object",
    "list[str]": "a list of strings",
    "list[union[str,dict[str,any]]]": "a list of documents",
    "list[dict[str,any]]": "a list of objects",
}
# Begins the tags of our unions of types: an error's place names them, and no client would recognise them there.
TAG = "type:"

_LONGEST_NAME = 40

Shape = TypeVar("Shape", bound=BaseModel)


def parse(body: bytes, shape: type[Shape]) -> Shape:
    """Return the request in a body.

    Raises:
        Refusal: 400 when the body is no JSON, 422 when a field is missing or has a wrong type.

    Example:
        >>> from serve.wire.jina import JinaRequest
        >>> parse(b'{"query": "oak desk", "documents": ["Oak desk"]}', JinaRequest).query
        'oak desk'
    """
    return validated(read_json(body), shape)


def read_json(body: bytes) -> Any:
    """Return the content of a body, whatever JSON it is; NaN and infinity, which Python's clients write, are read too.

    Raises:
        Refusal: 400 when it is no JSON, or not in UTF-8.

    Example:
        >>> read_json(b'{"top_n": 3}')
        {'top_n': 3}
    """
    try:
        return json_text.read_json(body)
    except json_text.NotJson as error:
        raise Refusal(400, f"the body is {error}") from error


def validated(content: Any, shape: type[Shape]) -> Shape:
    """Return the request that a body's content is.

    Raises:
        Refusal: 422 when a field is missing or has a wrong type.
    """
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        raise _first_fault(error.errors(include_url=False)) from error


def wrong_value(where: str, error: ErrorDetails) -> Refusal:
    """Return the refusal of one value, with pydantic's reason.

    Args:
        where: it stands in the body, such as `documents.3.price`.
        error: what pydantic found.
    """
    reason = error["msg"][0].lower() + error["msg"][1:]
    return Refusal(422, f"{where}: {reason}, but it is {shown(error['input'])}")


def check_size(name: str, size: int, limit: int, unit: str, *, status: int = 422) -> None:
    """Refuse what is over a limit.

    Args:
        name: of what has a size.
        size: its size.
        limit: the largest that is allowed.
        unit: of both, in the plural.
        status: of the refusal.

    Raises:
        Refusal: `size` is more than `limit`.
    """
    if size > limit:
        raise Refusal(status, f"{name} has {size} {unit}; the limit is {limit}")


def _first_fault(errors: Sequence[ErrorDetails]) -> Refusal:
    """Return the refusal that says the first thing that is wrong with a body."""
    first = errors[0]
    place = _outside_unions(first)
    where = ".".join(_step(part) for part in place if not str(part).startswith(TAG))
    if not where:
        return Refusal(422, "the body is not a JSON object")
    if first["type"] == "missing":
        return Refusal(422, f"{where} is missing")
    if place != first["loc"]:
        # Each member of a union fails by itself, at the same place.
        kinds = dict.fromkeys(str(each["loc"][len(place)]) for each in errors if _outside_unions(each) == place)
        return Refusal(422, f"{where} is neither {' nor '.join(_KINDS[kind] for kind in kinds)}")
    return wrong_value(where, first)


def _step(part: int | str) -> str:
    """Return a step of an error's place; what is no name of ours is a key of the client's, and cut."""
    return str(part) if isinstance(part, int) or (part.isidentifier() and len(part) < _LONGEST_NAME) else shown(part)


def _outside_unions(error: ErrorDetails) -> tuple[int | str, ...]:
    """Return the part of an error's place that a client would recognise: it ends where a union begins."""
    place = error["loc"]
    inside = next((i for i, part in enumerate(place) if part in _KINDS), len(place))
    return place[:inside]
