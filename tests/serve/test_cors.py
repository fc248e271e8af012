"""Web pages from other origins: the real server with keys, asked as a browser asks, and by a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from gen_rerank.system.server import start_server
from serve.access import add_key

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

SHOP, OTHER = "https://shop.example", "https://other.example"
BODY = {"query": "red desk", "documents": ["Red desk"]}
ALLOWED = "access-control-allow-origin"


class EmptyPage(BaseHTTPRequestHandler):
    """Sends a page without anything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of somebody else's page: of 127.0.0.1, which may read answers, and of localhost, which may not."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@dataclass
class Asked:
    """The server, and a key to it."""

    url: str
    key: str

    def post(self, origin: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Origin": origin, "Authorization": f"Bearer {self.key if key is None else key}"}
        more["headers"] = headers | more.get("headers", {})
        return httpx.post(f"{self.url}/v1/rerank", timeout=60, **({"json": BODY} | more))


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, elsewhere: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    keys = tmp_path_factory.mktemp("cors") / "keys"
    key = add_key(keys, "page")
    origins = ["--cors-origin", SHOP, "--cors-origin", f"http://127.0.0.1:{elsewhere}"]
    with start_server(tiny_checkpoint, *origins, "--keys", str(keys), served_name="tiny") as url:
        yield Asked(url, key)


def test_the_named_origin_may_read_answers_and_nobody_else(server: Asked) -> None:
    named, other = server.post(SHOP), server.post(OTHER)
    assert (named.status_code, named.headers[ALLOWED]) == (200, SHOP)
    assert "X-Request-Id" in named.headers["access-control-expose-headers"]
    assert ALLOWED not in other.headers
    assert all("Origin" in answer.headers["vary"] for answer in (named, other))


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (401, {"key": "none"}),
        (415, {"headers": {"Content-Encoding": "br"}}),
        (400, {"content": b"{", "json": None}),
        (422, {"json": {"query": "", "documents": ["a"]}}),
    ],
)
def test_it_may_read_why_it_is_refused_too(server: Asked, status: int, more: dict[str, Any]) -> None:
    answer = server.post(SHOP, **more)
    assert (answer.status_code, answer.headers[ALLOWED]) == (status, SHOP)
    assert ALLOWED not in server.post(OTHER, **more).headers


def test_a_preflight_needs_no_key(server: Asked) -> None:
    def preflight(origin: str) -> httpx.Response:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        return httpx.options(f"{server.url}/v1/rerank", headers=asks | {"Origin": origin})

    named, other = preflight(SHOP), preflight(OTHER)
    assert (named.status_code, named.headers[ALLOWED]) == (200, SHOP)
    assert named.headers["access-control-allow-headers"] == "authorization,content-type"
    assert (other.status_code, other.headers.get(ALLOWED)) == (400, None)


ASK = """async ([url, key, encoding]) => {
    const headers = { "Content-Type": "application/json", "Authorization": `Bearer ${key}` };
    if (encoding) headers["Content-Encoding"] = encoding;
    const body = JSON.stringify({ query: "red desk", documents: ["Red desk"] });
    try {
        const answer = await fetch(url, { method: "POST", headers, body });
        return [answer.status, Object.keys(await answer.json()).length, answer.headers.has("X-Request-Id")];
    } catch (error) {
        return String(error);
    }
}"""


def test_a_browser_lets_the_named_page_read_and_no_other(server: Asked, elsewhere: int, browser: Browser) -> None:
    def asked(host: str, key: str, encoding: str = "") -> Any:
        page = browser.new_page()
        page.goto(f"http://{host}:{elsewhere}/")
        answer = page.evaluate(ASK, [f"{server.url}/v1/rerank", key, encoding])
        page.close()
        return answer

    assert asked("127.0.0.1", server.key) == [200, 5, True]
    assert asked("127.0.0.1", "none") == [401, 2, True]
    assert asked("127.0.0.1", server.key, "br") == [415, 2, True]
    assert asked("localhost", server.key) == "TypeError: Failed to fetch"
