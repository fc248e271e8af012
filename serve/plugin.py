"""Our part of vLLM's API server: the entry point `gen_rerank` of `vllm.endpoint_plugins`.

vLLM calls `plugin()`, lets it add its routes and middleware, and hands it the engine once that runs. `/health`,
`/metrics` and the description of the API stay vLLM's; its other routes go. Here the parts of the server are put
together, and nowhere else; the options come from the launcher, in vLLM's own namespace of arguments.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.routing import BaseRoute, Mount, Route

from gen_rerank.scorers.worker import GIVE_BACK
from serve.access import Keys
from serve.admission import Admission
from serve.guard import Guard
from serve.info import EngineFacts
from serve.lifecycle import Lifecycle
from serve.models import ServedModels
from serve.options import ServeOptions
from serve.playground import router as playground
from serve.routes import PATHS, router
from serve.scoring import OnlineScorer, ScoreCache
from serve.telemetry import Telemetry

# vLLM's paths that stay: probes, metrics and the description of the API.
VLLMS_PATHS = frozenset({
    "/health", "/ping", "/version", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/static",
})  # fmt: skip


class RerankPlugin:
    """What vLLM's `EndpointPlugin` protocol asks for."""

    name = "gen_rerank"
    required_tasks = ("classify",)

    def attach_router(self, app: FastAPI) -> None:
        """Add our routes, and the guard in front of all routes, to vLLM's application."""
        options: ServeOptions = app.state.args.gen_rerank
        # Any other way to the engine, a later version's too, would pass by our queue, limits and adapters.
        app.router.routes[:] = [route for route in app.router.routes if _path(route) in VLLMS_PATHS]
        # It only tells readers of the API's description how a key is sent; the guard asks for it.
        bearer = HTTPBearer(auto_error=False, description="Needed where the server was started with --keys.")
        app.include_router(router, dependencies=[Depends(bearer)])
        app.include_router(playground)
        app.state.telemetry = Telemetry(options.log)
        app.add_middleware(
            Guard,
            keys=None if options.keys is None else Keys.read(options.keys),
            telemetry=app.state.telemetry,
            routes=PATHS,
            max_body_bytes=options.max_body_bytes,
            max_bodies_bytes=options.max_bodies_bytes,
            body_seconds=options.body_seconds,
        )

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Keep what the routes need, and load the adapters that are served from the start.

        Raises:
            BadInput: an adapter is refused.
        """
        options: ServeOptions = args.gen_rerank
        lifecycle: Lifecycle = args.gen_rerank_lifecycle
        await engine_client.collective_rpc(GIVE_BACK)
        state.options = options
        state.engine_facts = EngineFacts.of(engine_client)
        # Two batches: one that is computed, and one that is ready when it is done.
        state.admission = Admission(
            max_pairs=options.max_queued_pairs,
            window=min(2 * args.max_num_seqs * args.data_parallel_size, options.max_queued_pairs),
        )
        state.served_models = ServedModels(
            engine_client,
            args.gen_rerank_checkpoint,
            args.served_model_name[0],
            folder=options.adapter_folder,
            places=options.max_adapters,
            largest_rank=options.max_adapter_rank,
        )
        for name, path in options.adapters:
            await state.served_models.load(name, path)
        state.online_scorer = OnlineScorer(
            engine_client, state.served_models, state.admission, ScoreCache(options.score_cache)
        )
        state.telemetry.watch(state.admission)
        lifecycle.follow(engine_client, state)


def plugin() -> RerankPlugin:
    """Return the plugin; the target of the entry point."""
    return RerankPlugin()


def _path(route: BaseRoute) -> str:
    return route.path if isinstance(route, Route | Mount) else ""
