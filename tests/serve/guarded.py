"""The guard in front of a small application, in a real HTTP server; for the tests of what it does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve.access import Keys, add_key
from serve.guard import Guard
from serve.telemetry import RequestRecord, Telemetry

LIMIT, TOGETHER, SECONDS = 200_000, 300_000, 1.0


async def rerank(request: Request) -> Response:
    body = await request.body()
    record: RequestRecord = request.state.record
    record.model, record.pairs = "base", 7
    return JSONResponse({"bytes": len(body), "key": record.key, "id": record.request_id})


async def patient(request: Request) -> Response:
    """Holds its body until the client leaves."""
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return JSONResponse(None)


async def broken(request: Request) -> Response:
    raise RuntimeError("the handler broke")


async def fine(request: Request) -> Response:
    return JSONResponse("fine")


async def long_answer(request: Request) -> Response:
    return JSONResponse("x" * 20_000_000)


ROUTES = [
    Route("/long", long_answer),
    Route("/v1/rerank", rerank, methods=["GET", "POST", "OPTIONS"]),
    Route("/patient", patient, methods=["POST"]),
    Route("/broken", broken, methods=["POST"]),
    Route("/v1/load_lora_adapter", fine, methods=["POST"]),
    *(Route(path, fine) for path in ("/health", "/ready", "/playground", "/playground/{file}", "/docs")),
]


def application(keys: Keys | None, telemetry: Telemetry) -> Starlette:
    app = Starlette(routes=ROUTES)
    app.add_middleware(
        Guard,
        keys=keys,
        telemetry=telemetry,
        routes={route.path for route in ROUTES},
        max_body_bytes=LIMIT,
        max_bodies_bytes=TOGETHER,
        body_seconds=SECONDS,
    )
    return app


@dataclass
class Served:
    """A running server, and what it logged."""

    url: str
    log: Path
    user: str = ""
    admin: str = ""

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=10, **more)

    def socket(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def line(self, request_id: str) -> dict[str, Any]:
        """Return the line of a request; it is written a moment after the response."""
        for _ in range(200):
            found = [
                line for line in map(json.loads, self.log.read_text().splitlines()) if line["request_id"] == request_id
            ]
            if found:
                assert len(found) == 1
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no line of {request_id}")


@contextmanager
def serving(folder: Path, *, with_keys: bool) -> Iterator[Served]:
    user = admin = ""
    keys = None
    if with_keys:
        user, admin = add_key(folder / "keys", "shop"), add_key(folder / "keys", "ops", admin=True)
        keys = Keys.read(folder / "keys")
    telemetry = Telemetry(folder / "log.jsonl", registry=CollectorRegistry())
    server = uvicorn.Server(uvicorn.Config(application(keys, telemetry), log_level="critical", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", folder / "log.jsonl", user, admin)
    finally:
        server.should_exit = True
        thread.join(10)
        telemetry.close()
