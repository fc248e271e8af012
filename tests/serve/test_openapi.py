"""What the API's description says of our routes."""

from __future__ import annotations

import json

import pytest

from serve.openapi import admin_route, inlined, scoring_route
from serve.wire import COHERE, SCORE, TEI, VLLM
from serve.wire.rerank import RerankRequest


def test_no_reference_is_left_in_a_schema() -> None:
    schema = inlined(
        {
            "properties": {"a": {"$ref": "#/$defs/A"}, "many": [{"$ref": "#/$defs/B"}]},
            "$defs": {"A": {"b": {"$ref": "#/$defs/B"}}, "B": {"type": "string"}},
        }
    )
    assert schema == {"properties": {"a": {"b": {"type": "string"}}, "many": [{"type": "string"}]}}


@pytest.mark.parametrize("dialects", [(COHERE,), (TEI, VLLM), (SCORE,)])
def test_a_route_has_the_statuses_of_its_dialects(dialects: tuple) -> None:
    described = scoring_route(*dialects)
    statuses = described["responses"].keys()
    assert {200, 401, 404, 408, 413, 415, 429, 503, 504} <= statuses
    assert (422 in statuses) == (SCORE not in dialects), "OpenAI's clients know no 422"
    assert (424 in statuses) == (TEI in dialects)
    schema = described["openapi_extra"]["requestBody"]["content"]["application/json"]["schema"]
    assert "$ref" not in json.dumps(schema)
    assert len(schema.get("anyOf", [schema])) == len(dialects)


def test_an_administrators_route_can_be_forbidden() -> None:
    assert admin_route(RerankRequest)["responses"].keys() == {400, 401, 403, 404, 408, 413, 415}


def test_teis_header_is_described() -> None:
    assert list(scoring_route(TEI, VLLM)["responses"][200]["headers"]) == ["X-No-Good-Match"]
    assert "headers" not in scoring_route(COHERE)["responses"][200]
