"""Compressed bodies at the guard: what comes out of them is bounded, before it is held."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serve.encodings import PIECE_BYTES
from serve.guard import Guard
from serve.telemetry import Telemetry

from .guarded import LIMIT, ROUTES, TOGETHER, Served, serving


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("open"), with_keys=False) as served:
        yield served


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_a_body_is_decoded(open_server: Served, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    with open_server.client(headers={"Content-Encoding": encoding}) as client:
        assert client.post("/v1/rerank", content=compress(b"x" * LIMIT)).json()["bytes"] == LIMIT
        assert client.post("/v1/rerank", content=compress(b"x" * (LIMIT + 1))).status_code == 413
        assert client.post("/v1/rerank", content=b"").json()["bytes"] == 0


@pytest.mark.parametrize(
    ("encoding", "content", "status", "words"),
    [
        ("gzip", b"plain", 400, "the body is damaged: it is not gzip"),
        ("gzip", gzip.compress(b"x" * 50, mtime=0)[:-3], 400, "the body is cut short: its gzip data has no end"),
        ("br", b"plain", 415, "the Content-Encoding 'br' is not taken; send the body as gzip or deflate, or as it is"),
        ("gzip, gzip", b"plain", 415, "the Content-Encoding 'gzip, gzip' is not taken"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_the_paths_shape(
    open_server: Served, encoding: str, content: bytes, status: int, words: str
) -> None:
    with open_server.client(headers={"Content-Encoding": encoding}) as client:
        answer = client.post("/v1/rerank", content=content)
        assert client.post("/v1/score", content=content).json()["error"]["code"] == status
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert answer.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)


def test_what_is_decoded_counts_as_held(open_server: Served) -> None:
    packed = {"Content-Encoding": "gzip", "Connection": "close"}
    with open_server.client() as client:
        held = threading.Thread(target=lambda: _leave_early(open_server, gzip.compress(b"x" * LIMIT)))
        held.start()
        time.sleep(0.3)
        full = client.post("/v1/rerank", content=gzip.compress(b"x" * (TOGETHER - LIMIT + 1)), headers=packed)
        held.join()
    assert full.status_code == 429


def _leave_early(server: Served, content: bytes) -> None:
    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/patient", content=content, headers={"Content-Encoding": "gzip"}, timeout=1)


def test_a_bomb_is_refused_without_being_held(tmp_path: Path) -> None:
    """Four gigabytes in four megabytes: within the limit until they are decoded."""
    bomb, limit = gzip.compress(bytes(2**26)) * 60, 2**23
    assert len(bomb) < limit
    with guarded(tmp_path, limit) as guard:
        client = TestClient(guard)
        tracemalloc.start()
        try:
            for _ in range(3):
                answer = client.post("/v1/rerank", content=bomb, headers={"Content-Encoding": "gzip"})
                assert answer.status_code == 413
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * limit  # the client's own copy is in it
        assert client.post("/v1/rerank", content=b"x" * limit).json()["bytes"] == limit  # nothing is held any more


def test_others_have_their_turn_while_a_large_body_is_decoded(tmp_path: Path) -> None:
    size = 2**25
    packed = gzip.compress(bytes(size))

    async def play(guard: Guard) -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/v1/rerank", content=packed, headers={"Content-Encoding": "gzip"})
        beside.cancel()
        assert answer.json()["bytes"] == size
        return turns

    with guarded(tmp_path, size) as guard:
        assert asyncio.run(play(guard)) >= size // PIECE_BYTES


@contextmanager
def guarded(folder: Path, limit: int) -> Iterator[Guard]:
    """Give a guard that takes bodies of `limit` bytes, one at a time."""
    telemetry = Telemetry(folder / "log", registry=CollectorRegistry())
    yield Guard(
        Starlette(routes=ROUTES),
        keys=None,
        telemetry=telemetry,
        routes={"/v1/rerank"},
        max_body_bytes=limit,
        max_bodies_bytes=limit,
        body_seconds=30,
    )
    telemetry.close()
