"""The HTTP routes: read the body in its dialect, ask the scorer, wrap the answer or the refusal.

What a dialect looks like is in `wire`, who may ask and how much is in `guard` and `admission`, and what is scored in
`scoring`; here they meet. Bodies are parsed by hand, because each dialect has its own way to say what is wrong with
one; `openapi` describes them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.routing import Route
from vllm.entrypoints.serve.utils.api_utils import listen_for_disconnect

from serve.guard import NO_RESPONSE, Hold
from serve.info import TeiInfo, tei_info
from serve.models import ServedModel, ServedModels
from serve.openapi import admin_route, scoring_route
from serve.options import ServeOptions
from serve.question import Question, Refusal
from serve.scoring import OnlineScorer, Progress
from serve.telemetry import RequestRecord
from serve.threads import on_thread
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
    ErrorShape,
    WireRequest,
    parse,
    read_json,
    rerank_dialect,
    validated,
)
from serve.wire.batch import BatchRequest
from serve.wire.standing import GradedRequest

logger = logging.getLogger(__name__)
router = APIRouter(tags=["gen_rerank"])

Handler = Callable[..., Coroutine[Any, Any, Response]]
AnyDialect = Dialect[Any]
Result = TypeVar("Result")

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_STARTED = int(time.time())
# From here on a body is read, and an answer written, on a thread: what may take seconds must not hold up everybody.
LARGE = 2**16
# One at a time: parsed, a body takes many times its bytes.
LARGE_BODIES = ThreadPoolExecutor(1, "large-bodies")
# What a result takes in an answer, roughly, beside its document.
_RESULT_BYTES = 200
_MAX_TIMEOUT = 86_400.0


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
            return work.result() if work.done() else Response(status_code=NO_RESPONSE)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait({work})

    return wrapper


async def read_body(raw_request: Request) -> bytes:
    """Return the body: a dependency runs before the handler, which then waits for a disconnect."""
    return await raw_request.body()


def _add_route(path: str, name: str, description: str, *dialects: AnyDialect) -> None:
    """Add a route that speaks one dialect, or several, of which a body shows its own."""
    dialect = dialects[0] if len(dialects) == 1 else None

    @while_connected
    async def handler(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
        return await _answered(raw_request, body, dialect)

    described = scoring_route(*dialects)
    router.add_api_route(path, handler, methods=["POST"], name=name, description=description, **described)


_SCORE = "Score pairs, one to one, one to many or many to many, in their order: vLLM's shape."
_add_route("/v1/rerank", "rerank", "Rank documents for a query: Jina's shape and Cohere's v1.", JINA)
_add_route("/v2/rerank", "rerank_v2", "Rank documents for a query: Cohere's v2 shape.", COHERE)
_add_route(
    "/rerank",
    "rerank_tei",
    "Rank texts for a query: text-embeddings-inference's shape with `texts`, vLLM's with `documents`.",
    TEI,
    VLLM,
)
_add_route("/v1/rerank/batch", "rerank_batch", "Rank documents for each of many queries.", BATCH)
_add_route("/v1/score", "score", _SCORE, SCORE)
_add_route("/score", "score", _SCORE, SCORE)
_add_route(
    "/v1/completions",
    "completions",
    "Read the eleven bin tokens' log-probabilities with an OpenAI client.",
    COMPLETIONS,
)
_add_route("/v1/decisions", "decisions", "Answer typed questions about pairs: OpenAI's shape.", DECISIONS)
_add_route("/v1/systemone", "systemone", "Answer typed questions about pairs: TypeSafe's shape.", SYSTEMONE)


@router.get("/v1/models")
async def models(raw_request: Request) -> JSONResponse:
    """List the base and the adapters."""
    served: ServedModels = raw_request.app.state.served_models
    return JSONResponse({"object": "list", "data": [_card(model, served.base) for model in served]})


@router.get("/info")
async def info(raw_request: Request) -> TeiInfo:
    """Tell text-embeddings-inference's clients about the base and the limits."""
    state = raw_request.app.state
    served: ServedModels = state.served_models
    return tei_info(served.base, state.options, state.engine_facts)


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


@router.post("/v1/load_lora_adapter", **admin_route(LoadAdapter))
async def load_adapter(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Serve one more adapter; needs an admin key."""

    async def load() -> Response:
        asked = parse(body, LoadAdapter)
        served: ServedModels = raw_request.app.state.served_models
        model = await served.load_below(asked.lora_name, asked.lora_path, replace=asked.load_inplace)
        return JSONResponse(_card(model, served.base))

    return await _refusing(raw_request, load)


@router.post("/v1/unload_lora_adapter", **admin_route(UnloadAdapter))
async def unload_adapter(raw_request: Request, body: bytes = Depends(read_body)) -> Response:
    """Stop serving an adapter; needs an admin key."""

    async def unload() -> Response:
        asked = parse(body, UnloadAdapter)
        served: ServedModels = raw_request.app.state.served_models
        await served.unload(asked.lora_name)
        return JSONResponse({"lora_name": asked.lora_name, "unloaded": True})

    return await _refusing(raw_request, unload)


async def _answered(raw_request: Request, body: bytes, dialect: AnyDialect | None = None) -> Response:
    """Answer a body of a dialect, or of the one that it shows itself, within the deadline."""
    options: ServeOptions = raw_request.app.state.options

    async def answer() -> Response:
        seconds = _deadline(raw_request, options.deadline_seconds)
        try:
            async with asyncio.timeout(seconds):
                return await _answer(raw_request, body, dialect)
        except TimeoutError as error:
            raise Refusal(504, f"the answer took longer than {seconds:g} seconds; send fewer documents") from error

    return await _refusing(raw_request, answer)


async def _answer(raw_request: Request, body: bytes, given: AnyDialect | None) -> Response:
    options: ServeOptions = raw_request.app.state.options
    dialect, request, size = await _off_loop(len(body), lambda: _read(raw_request, body, given))
    question = await _off_loop(size, lambda: _question(request, options))
    record: RequestRecord = raw_request.state.record
    record.pairs = question.pairs
    scorer: OnlineScorer = raw_request.app.state.online_scorer
    progress = Progress()
    try:
        answered = await scorer.answer(question, progress)
    finally:
        record.model, record.queue_seconds = progress.model, progress.queue_seconds
    size += _RESULT_BYTES * len(question.items)
    content = await _off_loop(
        size, lambda: _JSON.dump_json(dialect.answer(request, answered), exclude_none=not dialect.nulls)
    )
    hold: Hold = raw_request.state.hold
    hold(len(content))
    record.tokens, record.cached, record.cut = answered.tokens, answered.cached, answered.cut
    record.histogram = answered.histogram
    record.scored = answered.scored[[i for i in range(len(question.items)) if i not in answered.blanks]]
    return Response(content, media_type="application/json", headers=dialect.header_values(answered))


def _question(request: WireRequest, options: ServeOptions) -> Question:
    """Return what a request asks, where it does not say it itself, as the server was started."""
    if isinstance(request, GradedRequest):
        return request.question(options.max_documents, empty_documents=options.empty_documents, phrases=options.phrases)
    return request.question(options.max_documents, empty_documents=options.empty_documents)


def _read(raw_request: Request, body: bytes, given: AnyDialect | None) -> tuple[AnyDialect, WireRequest, int]:
    """Return a body's dialect, the request in it, and its bytes, those of shared documents counted for each query."""
    options: ServeOptions = raw_request.app.state.options
    content = read_json(body)
    dialect = given or rerank_dialect(content)
    raw_request.state.errors = dialect.errors  # refusals have its shape from here on
    request = validated(content, dialect.request)
    repeated = _repeated(request, options.max_body_bytes) if isinstance(request, BatchRequest) else 0
    return dialect, request, len(body) + repeated


def _repeated(request: BatchRequest, limit: int) -> int:
    """Return the bytes of the shared documents, once for each entry that has none of its own.

    Work and answer grow with them and not with the body: a hundred entries about one document of a megabyte are a body
    of one, and an answer of a hundred.

    Raises:
        Refusal: 413, they are more than the limit.
    """
    sharing = sum(entry.documents is None for entry in request.requests)
    size = len(_JSON.dump_json(request.documents))
    if sharing * size > limit:
        raise Refusal(
            413,
            f"the shared documents have {size} bytes, and {sharing} requests share them; together that must be at most "
            f"{limit} bytes: send fewer requests at once",
        )
    return sharing * size


async def _off_loop(size: int, work: Callable[[], Result]) -> Result:
    """Do at once what is small, and the rest on a thread, one at a time."""
    return work() if size < LARGE else await on_thread(LARGE_BODIES, work)


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


async def _refusing(raw_request: Request, handle: Callable[[], Awaitable[Response]]) -> Response:
    """Run a handler; answer what it refuses in the shape that is known by then, the path's or the dialect's."""
    try:
        return await handle()
    except Refusal as caught:
        refusal = caught
    except Exception:  # vLLM would answer some of these as if they were the client's fault
        logger.exception("request %s failed", raw_request.state.record.request_id)
        refusal = Refusal(500, "the server failed; its log says why")
    errors: ErrorShape = raw_request.state.errors
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return JSONResponse(errors.error(refusal), errors.status(refusal), headers)


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
