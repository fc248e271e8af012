"""Our routes inside vLLM's API server: the entry point `gen_rerank` of `vllm.endpoint_plugins`.

vLLM calls `plugin()`, lets it add its routes, and hands it the engine once that runs. `/health`, `/metrics`, `/v1/models`
and shutdown stay vLLM's; its own rerank and score routes do not exist for a model with more than one label. A route reads the
body, asks `wire` what it means and `OnlineScorer` for the scores, and wraps the answer or the refusal in its dialect.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from vllm.entrypoints.serve.utils.api_utils import with_cancellation

from gen_rerank.bins import Distribution
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.records import Pair
from serve.scoring import OnlineScorer
from serve.wire import (
    MAX_BODY_BYTES,
    CohereRequest,
    CohereResponse,
    JinaRequest,
    JinaResponse,
    Refusal,
    RerankRequest,
    Usage,
    parse,
    ranked,
)

router = APIRouter()

Handler = Callable[..., Awaitable[JSONResponse]]
Shape = TypeVar("Shape", bound=RerankRequest)

# When the client goes away the handler is cancelled, and with it what it asked of the engine.
while_connected: Callable[[Handler], Handler] = with_cancellation


class RerankPlugin:
    """What vLLM's `EndpointPlugin` protocol asks for."""

    name = "gen_rerank"
    required_tasks = ("classify",)

    def attach_router(self, app: FastAPI) -> None:
        """Add our routes to vLLM's application."""
        app.include_router(router)

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Keep the engine and the checkpoint that it serves.

        Raises:
            BadInput: the model that vLLM was started with is not a checkpoint of this project.
        """
        state.online_scorer = OnlineScorer(engine_client, Checkpoint.open(args.model))


def plugin() -> RerankPlugin:
    """Return the plugin; the target of the entry point."""
    return RerankPlugin()


async def read_body(raw_request: Request) -> bytes | Refusal:
    """Return the body, or why it is not read: a dependency runs before the handler, which then waits for a disconnect."""
    body = bytearray()
    async for chunk in raw_request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return Refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def refusing(field: str) -> Callable[[Handler], Handler]:
    """Return a decorator that answers a `Refusal` with its status and `{field: sentence}`."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def wrapper(*args: Any, **kwargs: Any) -> JSONResponse:
            try:
                return await handler(*args, **kwargs)
            except Refusal as refusal:
                return JSONResponse({field: refusal.sentence}, refusal.status)

        return wrapper

    return decorate


# The annotations of the handlers are evaluated by FastAPI; `raw_request` is the name that vLLM's decorator looks for.
@router.post("/v1/rerank", response_model=None, responses={200: {"model": JinaResponse}})
@while_connected
@refusing("detail")
async def rerank_jina(raw_request: Request, body: bytes | Refusal = Depends(read_body)) -> JSONResponse:  # noqa: B008
    """Rank documents for a query, in Jina's shape."""
    request = _parsed(body, JinaRequest)
    name = _model_name(request, raw_request)
    pairs, scored, tokens = await _scored(request, raw_request)
    return _json(JinaResponse(model=name, usage=Usage(total_tokens=tokens), results=ranked(request, pairs, scored)))


@router.post("/v2/rerank", response_model=None, responses={200: {"model": CohereResponse}})
@while_connected
@refusing("message")
async def rerank_cohere(raw_request: Request, body: bytes | Refusal = Depends(read_body)) -> JSONResponse:  # noqa: B008
    """Rank documents for a query, in Cohere's shape."""
    request = _parsed(body, CohereRequest)
    _model_name(request, raw_request)
    pairs, scored, _ = await _scored(request, raw_request)
    return _json(CohereResponse(id=str(uuid4()), results=ranked(request, pairs, scored)))


def _parsed(body: bytes | Refusal, shape: type[Shape]) -> Shape:
    if isinstance(body, Refusal):
        raise body
    return parse(body, shape)


def _model_name(request: RerankRequest, raw_request: Request) -> str:
    models = raw_request.app.state.openai_serving_models
    name: str = models.model_name() if request.model is None else request.model
    if not models.is_base_model(name):
        raise Refusal(404, f"there is no model {name[:100]!r} here; {models.model_name()!r} is served")
    return name


async def _scored(request: RerankRequest, raw_request: Request) -> tuple[list[Pair], Distribution, int]:
    pairs = request.pairs()
    scorer: OnlineScorer = raw_request.app.state.online_scorer
    try:
        scored, tokens = await scorer.score(pairs, instruction=request.instruction)
    except BadInput as error:
        raise Refusal(422, str(error)) from error
    return pairs, scored, tokens


def _json(response: BaseModel) -> JSONResponse:
    return JSONResponse(response.model_dump(exclude_none=True))
