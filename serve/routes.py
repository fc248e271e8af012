"""The HTTP routes: read the body in its dialect, ask the scorer, wrap the answer or the refusal.

What a dialect looks like is in `wire`, who may ask and how much is in `guard` and `admission`, and what is scored in `scoring`; here they
meet. Bodies are parsed by hand, because each dialect has its own way to say what is wrong with one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.routing import Route
from vllm.entrypoints.serve.utils.api_utils import listen_for_disconnect

from serve.models import ServedModel, ServedModels
from serve.options import ServeOptions
from serve.question import Question, Refusal
from serve.scoring import OnlineScorer, Progress
from serve.telemetry import RequestRecord
from serve.wire import (
    BATCH,
    COHERE,
    COMPLETIONS,
    JINA,
    SCORE,
    TEI,
    Dialect,
    WireRequest,
    error_for,
    parse,
    rerank_dialect,
    status_for,
)

logger = logging.getLogger(__name__)
router = APIRouter(tags=["gen_rerank"])

Handler = Callable[..., Coroutine[Any, Any, Response]]
AnyDialect = Dialect[Any]
Result = TypeVar("Result")

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_STARTED = int(time.time())
# From here on a body is parsed on a thread: what may take seconds must not hold up everybody's requests.
_LARGE_BODY = 2**16
_ONE_LARGE_BODY = asyncio.Semaphore(1)
_MAX_TIMEOUT = 86_400.0
_CLIENT_GONE = 499  # nginx's number; nobody is left to read it


def while_connected(handler: Handler) -> Handler:
    """Cancel a handler, and with it what it asked of the engine, when the client goes away; the log then says 499.

    Unlike vLLM's own decorator it waits until the handler has ended, so that what is recorded of it is whole.
    """

    @wraps(handler)
    async def wrapper(*args: Any, raw_request: Request, **kwargs: Any) -> Response:
        work = asyncio.create_task(handler(*args, raw_request=raw_request, **kwargs))
        gone = asyncio.create_task(listen_for_disconnect(raw_request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else Response(status_code=_CLIENT_GONE)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait({work})

    return wrapper


async def read_body(raw_request: Request) -> bytes:
    """Return the body: a dependency runs before the handler, which then waits for a disconnect."""
    return await raw_request.body()


def documented(*dialects: AnyDialect) -> dict[str, Any]:
    """Return what FastAPI needs to list a route whose body is parsed by hand."""
    schemas = [inlined(dialect.request.model_json_schema()) for dialect in dialects]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "The scores.", "model": _union(dialects)}}
    sent = {dialect.status(Refusal(status, "")) for status in _REFUSED for dialect in dialects}
    for status in sorted(sent):
        responses[status] = {"description": _REFUSED[status]}
    return {
        "response_model": None,
        "responses": responses,
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    }


_REFUSED = {
    400: "The body is not JSON, or the request cannot be answered as it is.",
    401: "An API key is needed.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body, or a document, is too large.",
    422: "A field is missing or wrong.",
    429: "Too much is waiting; try again after Retry-After seconds.",
    500: "The server failed; its log says why.",
    503: "The server is going down.",
    504: "The answer took longer than the request allows.",
}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema whose definitions stand where they are used: OpenAPI resolves references from its own root."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[1]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _union(dialects: tuple[AnyDialect, ...]) -> Any:
    union: Any = dialects[0].response
    for dialect in dialects[1:]:
        union = union | dialect.response
    return union


@router.post("/v1/rerank", **documented(JINA))
@while_connected
async def rerank(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Rank documents for a query: Jina's shape and Cohere's v1."""
    return await _answered(raw_request, body, JINA)


@router.post("/v2/rerank", **documented(COHERE))
@while_connected
async def rerank_v2(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Rank documents for a query: Cohere's v2 shape."""
    return await _answered(raw_request, body, COHERE)


@router.post("/rerank", **documented(TEI, JINA))
@while_connected
async def rerank_tei(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Rank texts for a query: text-embeddings-inference's shape with `texts`, Jina's with `documents`."""
    return await _answered(raw_request, body, await _off_loop(len(body), lambda: rerank_dialect(body)))


@router.post("/v1/rerank/batch", **documented(BATCH))
@while_connected
async def rerank_batch(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Rank documents for each of many queries."""
    return await _answered(raw_request, body, BATCH)


@router.post("/v1/score", **documented(SCORE))
@while_connected
async def score(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Score pairs, one to one, one to many or many to many, in their order: vLLM's shape."""
    return await _answered(raw_request, body, SCORE)


router.add_api_route("/score", score, methods=["POST"], **documented(SCORE))


@router.post("/v1/completions", **documented(COMPLETIONS))
@while_connected
async def completions(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Read the eleven bin tokens' log-probabilities with an OpenAI client."""
    return await _answered(raw_request, body, COMPLETIONS)


@router.get("/v1/models")
async def models(raw_request: Request) -> JSONResponse:
    """List the base and the adapters."""
    served: ServedModels = raw_request.app.state.served_models
    return JSONResponse({"object": "list", "data": [_card(model, served.base) for model in served]})


@router.get("/ready", responses={503: {"description": "Not now: no engine, or going down."}})
async def ready(raw_request: Request) -> JSONResponse:
    """Say whether new requests should be sent here: unlike /health, no longer while the server drains."""
    state = raw_request.app.state
    if state.engine_client.errored:
        return JSONResponse({"status": "the engine has stopped"}, 503)
    if state.admission.draining:
        return JSONResponse({"status": "draining"}, 503)
    return JSONResponse({"status": "ready"})


class LoadAdapter(BaseModel):
    """The body of `POST /v1/load_lora_adapter`, as vLLM's own.

    Attributes:
        lora_name: what clients will call it.
        lora_path: its folder, below the server's adapter folder.
        load_inplace: whether an adapter of this name is to be replaced.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"examples": [
        {"lora_name": "garden-shop", "lora_path": "garden-shop/2026-11-22"}
    ]})  # fmt: skip

    lora_name: str = Field(min_length=1)
    lora_path: str = Field(min_length=1)
    load_inplace: bool = False


class UnloadAdapter(BaseModel):
    """The body of `POST /v1/unload_lora_adapter`, as vLLM's own."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    lora_name: str = Field(min_length=1)


def _administered(shape: type[BaseModel]) -> dict[str, Any]:
    schema = inlined(shape.model_json_schema())
    return {
        "response_model": None,
        "responses": {
            status: {"description": _REFUSED.get(status, "Not allowed.")} for status in (400, 401, 403, 404, 408, 413)
        },
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    }


@router.post("/v1/load_lora_adapter", **_administered(LoadAdapter))
async def load_adapter(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Serve one more adapter; needs an admin key."""

    async def load() -> Response:
        asked = parse(body, LoadAdapter)
        served: ServedModels = raw_request.app.state.served_models
        model = await served.load_below(asked.lora_name, asked.lora_path, replace=asked.load_inplace)
        return JSONResponse(_card(model, served.base))

    return await _refusing(raw_request, load)


@router.post("/v1/unload_lora_adapter", **_administered(UnloadAdapter))
async def unload_adapter(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Stop serving an adapter; needs an admin key."""

    async def unload() -> Response:
        asked = parse(body, UnloadAdapter)
        served: ServedModels = raw_request.app.state.served_models
        await served.unload(asked.lora_name)
        return JSONResponse({"lora_name": asked.lora_name, "unloaded": True})

    return await _refusing(raw_request, unload)


async def _answered(raw_request: Request, body: bytes, dialect: AnyDialect) -> Response:
    record: RequestRecord = raw_request.state.record

    options: ServeOptions = raw_request.app.state.options

    async def answer() -> Response:
        seconds = _deadline(raw_request, options.deadline_seconds)
        try:
            async with asyncio.timeout(seconds):
                return await _answer(raw_request, body, dialect, record, options)
        except TimeoutError as error:
            raise Refusal(504, f"the answer took longer than {seconds:g} seconds; send fewer documents") from error

    return await _refusing(raw_request, answer, dialect)


async def _answer(
    raw_request: Request, body: bytes, dialect: AnyDialect, record: RequestRecord, options: ServeOptions
) -> Response:
    request, question = await _off_loop(len(body), lambda: _asked(body, dialect, options))
    record.pairs = len(question.items)
    scorer: OnlineScorer = raw_request.app.state.online_scorer
    progress = Progress()
    try:
        answered = await scorer.answer(question, progress)
    finally:
        record.model, record.queue_seconds = progress.model, progress.queue_seconds
    record.tokens, record.cached, record.cut = answered.tokens, answered.cached, answered.cut
    record.scored = answered.scored
    content = await _off_loop(len(body), lambda: _JSON.dump_json(dialect.answer(request, answered), exclude_none=True))
    return Response(content, media_type="application/json")


async def _off_loop(size: int, work: Callable[[], Result]) -> Result:
    """Do what takes long with a large body on a thread, one at a time, and the rest at once."""
    if size < _LARGE_BODY:
        return work()
    async with _ONE_LARGE_BODY:  # parsed, a body takes many times its bytes
        return await asyncio.to_thread(work)


def _asked(body: bytes, dialect: AnyDialect, options: ServeOptions) -> tuple[WireRequest, Question]:
    request = parse(body, dialect.request)
    return request, request.question(options.max_documents)


def _deadline(raw_request: Request, longest: float) -> float:
    given = raw_request.headers.get("x-request-timeout")
    if given is None:
        return longest
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise Refusal(400, "the header X-Request-Timeout must be a number of seconds above 0")
    return min(seconds, longest)


async def _refusing(
    raw_request: Request, handle: Callable[[], Awaitable[Response]], dialect: AnyDialect | None = None
) -> Response:
    """Run a handler; answer what it refuses in the dialect, or in the shape of the path."""
    try:
        return await handle()
    except Refusal as caught:
        refusal = caught
    except Exception:  # vLLM would answer some of these as if they were the client's fault
        logger.exception("request %s failed", raw_request.state.record.request_id)
        refusal = Refusal(500, "the server failed; its log says why")
    path = raw_request.url.path
    error, status = (error_for(path), status_for(path)) if dialect is None else (dialect.error, dialect.status)
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return JSONResponse(error(refusal), status(refusal), headers)


def _card(model: ServedModel, base: ServedModel) -> dict[str, Any]:
    card = model.checkpoint.card
    adapter = model is not base
    return {
        "id": model.name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "gen_rerank",
        "root": model.lora.lora_path if adapter else str(model.checkpoint.folder),
        "parent": base.name if adapter else None,
        "max_model_len": card.prompt.max_length,
        "gen_rerank": {
            "readout": card.readout.kind,
            "template": card.prompt.template,
            "thresholds": card.calibration.thresholds,
            "version": model.version,
        },
    }


# What is recorded by name.
PATHS = frozenset(route.path for route in router.routes if isinstance(route, Route))
