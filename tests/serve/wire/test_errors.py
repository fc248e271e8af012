from __future__ import annotations

from typing import Any

import pytest

from serve.question import Refusal
from serve.wire import (
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
    errors_for,
)


def test_each_service_finds_the_sentence_where_it_looks() -> None:
    refusal = Refusal(404, "no such model")
    openai = {
        "error": {"message": "no such model", "type": "invalid_request_error", "param": None, "code": 404},
    }
    jina = {"detail": "no such model", "message": "no such model"}
    assert JINA.errors.error(refusal) == BATCH.errors.error(refusal) == jina
    assert COHERE.errors.error(refusal) == {"message": "no such model"}
    assert TEI.errors.error(refusal) == {"error": "no such model", "error_type": "Validation"}
    assert SCORE.errors.error(refusal) == COMPLETIONS.errors.error(refusal) == openai
    assert VLLM.errors.error(refusal) == openai | jina


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (400, 400, "Empty"),
        (401, 401, "Validation"),
        (404, 404, "Validation"),
        (408, 408, "Validation"),
        (413, 413, "Validation"),
        (422, 422, "Tokenizer"),
        (429, 429, "Overloaded"),
        (500, 424, "Backend"),
        (503, 503, "Unhealthy"),
        (504, 504, "Backend"),
    ],
)
def test_the_statuses_of_tei(status: int, sent: int, kind: str) -> None:
    refusal = Refusal(status, "no")
    assert TEI.errors.status(refusal) == sent
    assert TEI.errors.error(refusal) == {"error": "no", "error_type": kind}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "api_usage_error"),
        (401, "authentication_error"),
        (404, "not_found"),
        (413, "api_usage_error"),
        (429, "rate_limit_error"),
        (500, "internal_error"),
        (503, "internal_error"),
    ],
)
def test_the_errors_of_system_one(status: int, kind: str) -> None:
    refusal = Refusal(status, "no")
    assert SYSTEMONE.errors.status(refusal) == status
    assert SYSTEMONE.errors.error(refusal) == {"detail": {"error_type": kind, "message": "no"}}


def test_what_is_wrong_with_a_body_of_system_one_is_a_list() -> None:
    said = SYSTEMONE.errors.error(Refusal(422, "state is missing"))
    assert said == {"detail": [{"loc": ["body"], "msg": "state is missing", "type": "value_error"}]}


@pytest.mark.parametrize("dialect", [SCORE, COMPLETIONS, DECISIONS, VLLM], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (401, 401, "authentication_error"),
        (403, 403, "permission_error"),
        (413, 413, "invalid_request_error"),
        (422, 400, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "server_error"),
        (503, 503, "server_error"),
    ],
)
def test_the_statuses_of_openai_and_vllm(dialect: Dialect[Any], status: int, sent: int, kind: str) -> None:
    refusal = Refusal(status, "no")
    assert dialect.errors.status(refusal) == sent
    error = dialect.errors.error(refusal)["error"]
    assert error == {"message": "no", "type": kind, "param": None, "code": sent}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/rerank", {"detail", "message"}),
        ("/v1/rerank/batch", {"detail", "message"}),
        ("/v2/rerank", {"message"}),
        ("/rerank", {"error", "error_type", "detail", "message"}),
        ("/v1/score", {"error"}),
        ("/score", {"error"}),
        ("/v1/completions", {"error"}),
        ("/v1/decisions", {"error"}),
        ("/v1/models", {"error"}),
        ("/v1/load_lora_adapter", {"error"}),
        ("/v1/unload_lora_adapter", {"error"}),
        ("/nowhere", {"detail"}),
    ],
)
def test_errors_before_the_body_is_read(path: str, fields: set[str]) -> None:
    errors = errors_for(path)
    refusal = Refusal(413, "too large")
    assert errors.error(refusal).keys() == fields
    assert errors.status(refusal) == 413
    assert errors.status(Refusal(422, "wrong")) == (400 if fields == {"error"} else 422)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "Validation"), (401, "Validation"), (413, "Validation"), (429, "Overloaded")]
)
def test_where_tei_and_vllm_share_a_path_the_error_is_a_sentence(status: int, kind: str) -> None:
    error = errors_for("/rerank").error(Refusal(status, "no"))
    assert error == {"error": "no", "error_type": kind, "detail": "no", "message": "no"}
