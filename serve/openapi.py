"""What the API's description says of routes whose bodies are parsed by hand, so that FastAPI cannot see them itself."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from pydantic import BaseModel

from serve.question import Refusal
from serve.wire import Dialect

_REFUSED = {
    400: "The body is not JSON, or the request cannot be answered as it is.",
    401: "An API key is needed.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or a document, or all documents together.",
    415: "The body is encoded in a way that is not taken.",
    422: "A field is missing or wrong.",
    429: "Too much is waiting; try again after Retry-After seconds.",
    500: "The server failed; its log says why.",
    503: "The server is going down.",
    504: "The answer took longer than the request allows.",
}
# What an administrator's request may be refused with.
_REFUSED_ADMINS = (400, 401, 403, 404, 408, 413, 415)


def scoring_route(*dialects: Dialect[Any]) -> dict[str, Any]:
    """Return what FastAPI needs to list a route that answers in one dialect, or in one of several."""
    schemas = [inlined(dialect.request.model_json_schema()) for dialect in dialects]
    union = reduce(or_, (dialect.response for dialect in dialects))
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "The scores.", "model": union}}
    own = {name: says for dialect in dialects for name, says in dialect.headers.items()}
    if own:
        responses[200]["headers"] = {
            name: {"description": says, "schema": {"type": "string"}} for name, says in own.items()
        }
    for status, description in _REFUSED.items():
        for dialect in dialects:
            responses.setdefault(dialect.errors.status(Refusal(status, "")), {"description": description})
    return _route(schemas[0] if len(schemas) == 1 else {"anyOf": schemas}, responses)


def admin_route(shape: type[BaseModel]) -> dict[str, Any]:
    """Return what FastAPI needs to list a route for administrators, whose body has this shape."""
    responses = {status: {"description": _REFUSED.get(status, "Not allowed.")} for status in _REFUSED_ADMINS}
    return _route(inlined(shape.model_json_schema()), responses)


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema whose definitions stand where they are used: OpenAPI resolves references from its own root.

    Example:
        >>> inlined({"items": {"$ref": "#/$defs/Entry"}, "$defs": {"Entry": {"type": "string"}}})
        {'items': {'type': 'string'}}
    """
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _route(schema: dict[str, Any], responses: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    return {
        "response_model": None,
        "responses": responses,
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    }
