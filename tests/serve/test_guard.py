"""The middleware in front of a small application, in a real HTTP server, asked over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from serve.access import Keys
from serve.guard import Guard, path_below_root
from serve.telemetry import Telemetry

from .guarded import LIMIT, ROUTES, SECONDS, TOGETHER, Served, application, serving


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("open"), with_keys=False) as served:
        yield served


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("keyed"), with_keys=True) as served:
        yield served


def request_head(path: str, request_id: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", f"X-Request-Id: {request_id}", *headers, "", ""]).encode()


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_a_request_passes_and_is_recorded(open_server: Served) -> None:
    with open_server.client() as client:
        answer = client.post("/v1/rerank", content=b"x" * LIMIT, headers={"X-Request-Id": "pass-1"})
    assert answer.json() == {"bytes": LIMIT, "key": "", "id": "pass-1"}
    assert answer.headers["x-request-id"] == "pass-1"
    line = open_server.line("pass-1")
    assert (line["route"], line["method"], line["status"]) == ("/v1/rerank", "POST", 200)
    assert (line["model"], line["pairs"]) == ("base", 7)
    assert 0 < line["ms"] < 5000


@pytest.mark.parametrize("given", [None, "", "x" * 129, "tab\there", b"\xc3\xa4"])
def test_an_id_is_made_when_the_clients_cannot_be_used(open_server: Served, given: str | bytes | None) -> None:
    with open_server.client() as client:
        answer = client.get("/v1/rerank", headers={} if given is None else {"X-Request-Id": given})
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert int(made, 16) > 0
    assert open_server.line(made)["status"] == 200


def test_the_longest_id_is_echoed(open_server: Served) -> None:
    given = "~" * 128
    with open_server.client() as client:
        assert client.get("/v1/rerank", headers={"X-Request-Id": given}).headers["x-request-id"] == given


def test_paths_that_clients_make_up_share_one_name(open_server: Served) -> None:
    with open_server.client() as client:
        assert client.post("/made/up", headers={"X-Request-Id": "made-up"}).status_code == 404
    assert open_server.line("made-up")["route"] == "other"


def test_probes_and_pages_are_not_recorded(open_server: Served) -> None:
    with open_server.client() as client:
        for path in ("/health", "/ready", "/playground", "/playground/a.js", "/docs"):
            assert client.get(path, headers={"X-Request-Id": "probe"}).status_code == 200
        client.get("/v1/rerank", headers={"X-Request-Id": "after-probes"})
    open_server.line("after-probes")
    assert '"probe"' not in open_server.log.read_text()


def test_without_keys_nobody_is_an_admin(open_server: Served) -> None:
    with open_server.client() as client:
        answer = client.post("/v1/load_lora_adapter", json={})
    assert answer.status_code == 403
    assert "start the server with a key file" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fields"), [("/v1/rerank", {"detail", "message"}), ("/v2/rerank", {"message"}), ("/else", {"detail"})]
)
@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer nonsense", "bearer \xff"])
def test_without_a_valid_key_it_is_401_in_the_paths_shape(
    keyed_server: Served, path: str, fields: set[str], header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    with keyed_server.client() as client:
        answer = client.post(path, json={}, headers=headers)
    assert answer.status_code == 401
    assert answer.json().keys() == fields
    assert answer.headers["www-authenticate"] == "Bearer"
    assert keyed_server.line(answer.headers["x-request-id"])["key"] == ""


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_valid_key_passes_and_its_label_is_logged(keyed_server: Served, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {keyed_server.user}", "X-Request-Id": f"key-{scheme}"}
    with keyed_server.client() as client:
        assert client.post("/v1/rerank", headers=headers).json()["key"] == "shop"
    assert keyed_server.line(f"key-{scheme}")["key"] == "shop"
    assert keyed_server.user not in keyed_server.log.read_text()


def test_adapters_need_an_admin(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        user, admin = (
            client.post("/v1/load_lora_adapter", headers={"Authorization": f"Bearer {secret}"})
            for secret in (keyed_server.user, keyed_server.admin)
        )
    assert user.status_code == 403
    assert "'shop' is not an admin's" in user.json()["error"]["message"]
    assert admin.json() == "fine"


def test_open_paths_need_no_key(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        for path in ("/health", "/ready", "/playground", "/playground/a.js", "/docs"):
            assert client.get(path).status_code == 200
        assert client.options("/v1/rerank").status_code == 200
        assert client.get("/healthy").status_code == 401
        assert client.get("/playgrounds").status_code == 401


def test_websockets_are_no_way_around_the_keys(keyed_server: Served, tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "log", registry=CollectorRegistry())
    client = TestClient(application(Keys(()), telemetry))
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/v1/rerank"):
        pass
    assert closed.value.code == 1008
    telemetry.close()


def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(open_server: Served) -> None:
    with open_server.socket() as connection:
        connection.sendall(request_head("/v1/rerank", "announced", f"Content-Length: {LIMIT + 1}"))
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in received.lower()
    assert b'"the body is larger than 200000 bytes"' in received
    assert open_server.line("announced")["status"] == 413


def test_clients_that_send_all_the_same_still_read_the_refusal(open_server: Served) -> None:
    for _ in range(5):
        assert httpx.post(f"{open_server.url}/v1/rerank", content=b"x" * 40_000_000).status_code == 413


def test_a_body_that_is_sent_in_chunks_is_counted(open_server: Served) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000

    with open_server.client() as client:
        assert client.post("/v1/rerank", content=chunks(200)).json()["bytes"] == LIMIT
        assert client.post("/v1/rerank", content=chunks(201)).status_code == 413


def test_a_slow_body_is_408_while_others_are_served(open_server: Served) -> None:
    with open_server.socket() as connection, open_server.client() as client:
        started = time.monotonic()
        connection.sendall(request_head("/v1/rerank", "slow", "Content-Length: 100"))
        for _ in range(3):
            connection.sendall(b"x")
            assert client.post("/v1/rerank", content=b"quick").json()["bytes"] == 5
        received = read_to_end(connection)
        assert SECONDS * 0.9 < time.monotonic() - started < SECONDS + 2
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 1 seconds" in received
    assert open_server.line("slow")["status"] == 408


def test_bodies_that_are_held_are_bounded_and_given_back(open_server: Served) -> None:
    head = request_head("/patient", "held", f"Content-Length: {LIMIT}")
    with open_server.client() as client:
        with open_server.socket() as connection:
            connection.sendall(head + b"x" * LIMIT)
            time.sleep(0.2)  # it is held now
            full = client.post("/v1/rerank", content=b"x" * (TOGETHER - LIMIT + 1))
            fits = client.post("/v1/rerank", content=b"x" * (TOGETHER - LIMIT))
        assert open_server.line("held")["status"] == 499  # it left
        after = client.post("/v1/rerank", content=b"x" * LIMIT)
    assert full.status_code == 429
    assert full.headers["retry-after"] == "1"
    assert fits.status_code == after.status_code == 200


def test_a_refused_body_is_not_held(open_server: Served) -> None:
    with open_server.client() as client:
        for _ in range(5):
            with open_server.socket() as connection:
                connection.sendall(request_head("/v1/rerank", "some", f"Content-Length: {LIMIT}") + b"x" * 100_000)
        time.sleep(0.2)
        assert client.post("/v1/rerank", content=b"x" * LIMIT).status_code == 200


def test_a_client_that_leaves_while_sending_is_no_error(open_server: Served) -> None:
    with open_server.socket() as connection:
        connection.sendall(request_head("/v1/rerank", "left", "Content-Length: 100") + b"x")
    line = open_server.line("left")
    assert line["status"] == 499
    assert line["pairs"] == 0
    assert line["ms"] < SECONDS * 1000


def test_a_broken_handler_is_500_and_recorded(open_server: Served) -> None:
    with open_server.client() as client:
        assert client.post("/broken", headers={"X-Request-Id": "broken"}).status_code == 500
    assert open_server.line("broken")["status"] == 500


def test_a_broken_handlers_exception_is_not_swallowed(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "log", registry=CollectorRegistry())
    with pytest.raises(RuntimeError, match="the handler broke"):
        TestClient(application(None, telemetry)).post("/broken")
    telemetry.close()


def test_a_cancelled_request_holds_nothing(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "log", registry=CollectorRegistry())
    guard = Guard(
        Starlette(routes=ROUTES),
        keys=None,
        telemetry=telemetry,
        routes=set(),
        max_body_bytes=100,
        max_bodies_bytes=100,
        body_seconds=10,
    )
    scope = {"type": "http", "method": "POST", "path": "/v1/rerank", "headers": []}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def play() -> None:
        messages: list[Message] = [{"type": "http.request", "body": b"x" * 100, "more_body": True}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()
            raise AssertionError

        task = asyncio.create_task(guard(dict(scope), receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sent == []
        messages += [{"type": "http.request", "body": b"x" * 100}]
        await guard(dict(scope), receive, send)
        assert sent[0]["status"] == 200

    asyncio.run(play())
    telemetry.close()


@pytest.mark.parametrize(("method", "path"), [("POST", "/health"), ("OPTIONS", "/v1/rerank"), ("POST", "/docs")])
def test_who_needs_no_key_may_send_no_body(keyed_server: Served, method: str, path: str) -> None:
    with keyed_server.client() as client:
        assert client.request(method, path, content=b"x").status_code == 413


@pytest.mark.parametrize("reads", [False, True])
def test_an_answer_that_is_not_read_in_time_is_let_go(open_server: Served, reads: bool) -> None:
    """By a client that does not read, and by one that reads on and on, but slowly."""
    name = f"reads-{reads}"
    with open_server.socket() as connection:
        connection.sendall(f"GET /long HTTP/1.1\r\nHost: a\r\nX-Request-Id: {name}\r\n\r\n".encode())
        end = time.monotonic() + 2 * SECONDS
        while reads and time.monotonic() < end:
            connection.recv(2**18)
            time.sleep(0.1)
        line = open_server.line(name)
        assert line["status"] == 499
        assert 1000 * SECONDS * 0.9 < line["ms"] < 1000 * SECONDS * 1.9
    with open_server.client() as client:
        assert len(client.get("/long").content) == 20_000_002


@pytest.mark.parametrize("root", ["/", "/v", "/v1"])
def test_a_root_path_hides_no_admin_path(tmp_path: Path, root: str) -> None:
    telemetry = Telemetry(tmp_path / "log", registry=CollectorRegistry())
    client = TestClient(application(None, telemetry), root_path=root)
    answered = [client.post(path).status_code for path in ("/v1/load_lora_adapter", root + "/v1/load_lora_adapter")]
    assert 200 not in answered
    assert 403 in answered
    telemetry.close()


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/v1/rerank", "", "/v1/rerank"),
        ("/shop/v1/rerank", "/shop", "/v1/rerank"),
        ("/shop", "/shop", ""),
        ("/shop/", "/shop", "/"),
        ("/shops/v1/rerank", "/shop", "/shops/v1/rerank"),
        ("/v1/rerank", "/shop", "/v1/rerank"),
        ("/v1/rerank", "/", "/v1/rerank"),
        ("//v1/rerank", "/", "/v1/rerank"),
        ("/shop/shop/ready", "/shop", "/shop/ready"),
    ],
)
def test_a_path_is_told_below_whole_parts_of_the_root(path: str, root: str, below: str) -> None:
    assert path_below_root({"path": path, "root_path": root}) == below


@pytest.mark.parametrize("root", ["", "/shop", "/v1"])
def test_a_path_is_recorded_as_the_router_finds_it(tmp_path: Path, root: str) -> None:
    log = tmp_path / "log"
    telemetry = Telemetry(log, registry=CollectorRegistry())
    client = TestClient(application(None, telemetry), root_path=root)
    assert client.post(f"{root}/v1/rerank", json={}).status_code == 200
    assert client.post("/elsewhere/v1/rerank", json={}).status_code == 404
    telemetry.close()
    assert [json.loads(line)["route"] for line in log.read_text().splitlines()] == ["/v1/rerank", "other"]


@pytest.mark.parametrize("root", ["", "/shop"])
def test_a_slash_at_the_end_of_a_path_changes_nothing(tmp_path: Path, root: str) -> None:
    log = tmp_path / "log"
    telemetry = Telemetry(log, registry=CollectorRegistry())
    client = TestClient(application(None, telemetry), root_path=root, follow_redirects=False)
    assert client.post(f"{root}/v1/rerank/", content=b"desk").json()["bytes"] == 4
    assert client.post(f"{root}/v1/load_lora_adapter/").status_code == 403
    assert client.get(f"{root}/playground/").json() == "fine"
    assert client.post(f"{root}/v1/rerank//").status_code != 200
    telemetry.close()
    routes = [json.loads(line)["route"] for line in log.read_text().splitlines()]
    assert routes == ["/v1/rerank", "/v1/load_lora_adapter", "other"]


def test_a_slash_at_the_end_is_no_way_around_the_keys(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        refused = client.post("/v2/rerank/", json={})
        assert client.post("/v1/rerank/", json={}).json().keys() == {"detail", "message"}
        assert client.get("/health/").status_code == 200
        answered = client.post("/v1/rerank/", headers={"Authorization": f"Bearer {keyed_server.user}"})
    assert refused.status_code == 401
    assert answered.json()["key"] == "shop"
