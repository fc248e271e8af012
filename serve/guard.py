"""What every request passes before a route sees it: its id, its key, limits on its body, the record of how it ended.

A pure ASGI middleware, so that a client that hangs up is still seen by the route. The body is read here, whole, within
bounds of size, time and memory, and replayed to the application; a route therefore starts only when it has all it
needs. A compressed body is decoded as it arrives, and the bounds are of what comes out. A client has as long to take
its answer as it had to send its body, and both count as held until then. Which shape an error has on a path is told by
the wire formats; what is recorded is done by the telemetry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access import Keys
from serve.encodings import TAKEN, Decoder, decoder_for
from serve.question import Refusal
from serve.telemetry import RequestRecord, Telemetry
from serve.wire import ErrorShape, errors_for

# Counts bytes that a request holds; raises `Refusal`, 429, when all requests together would hold too many.
Hold = Callable[[int], None]

ADMIN_PATHS = frozenset({"/v1/load_lora_adapter", "/v1/unload_lora_adapter"})
# Probes, metrics and pages: they need no key and are not recorded.
OPEN_PATHS = frozenset({"/health", "/ready", "/metrics", "/playground", "/openapi.json", "/docs"})

# What a page from another origin may read beside what every page may, where it may read an answer.
EXPOSED = "X-Request-Id, Retry-After"

OTHER = "other"
# A client that leaves gets no response; this number, which HTTP leaves free, says so in log and metrics.
NO_RESPONSE = 499

_MOST_ID_CHARACTERS = 128
_PIECE_BYTES = 2**16
_POLICY_VIOLATION = 1008  # of a WebSocket's close


class Guard:
    """The middleware.

    It puts into `scope["state"]` what the routes need: `record`, a `RequestRecord` to fill in; `errors`, the shape of a
    refusal, which is the path's until the route knows better; and `hold`, which is told the bytes of an answer.

    Args:
        app: the application.
        keys: who may ask; None lets everybody, except to the paths that need an admin.
        telemetry: is told of every request, but for probes, metrics and pages.
        routes: the paths that are recorded by name; any other is recorded as `other`, so that clients cannot make names
            up.
        max_body_bytes: the most bytes of one body.
        max_bodies_bytes: the most bytes of all bodies and answers that are held at once.
        body_seconds: the time that a client has to send its body, and again to take its answer.

    Example:
        >>> guarded = Guard(
        ...     app, keys=None, telemetry=telemetry, routes={"/v1/rerank"},
        ...     max_body_bytes=2**20, max_bodies_bytes=2**28, body_seconds=30,
        ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None,
        telemetry: Telemetry,
        routes: Collection[str],
        max_body_bytes: int,
        max_bodies_bytes: int,
        body_seconds: float,
    ) -> None:
        assert 0 < max_body_bytes <= max_bodies_bytes
        self._app = app
        self._keys = keys
        self._telemetry = telemetry
        self._routes = frozenset(routes)
        self._max_body_bytes = max_body_bytes
        self._max_bodies_bytes = max_bodies_bytes
        self._body_seconds = body_seconds
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI asks."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            # None of our routes is one, and vLLM's must not be a way around the keys and the queue.
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        scope = self._without_last_slash(scope)
        path, headers = path_below_root(scope), Headers(scope=scope)
        route = path if path in self._routes else OTHER
        record = RequestRecord(request_id=_request_id(headers), route=route, method=scope["method"])
        sending = _recording(record, _in_time(send, self._body_seconds))
        try:
            with self._memory() as hold:
                scope.setdefault("state", {}).update(record=record, errors=errors_for(path), hold=hold)
                await self._guarded(record, headers, scope, receive, sending)
        except TimeoutError:  # of `_in_time`: nobody reads the answer, and nobody would read another
            record.status = NO_RESPONSE
        except Exception:
            record.status = 500
            raise
        finally:
            record.status = record.status or NO_RESPONSE
            record.seconds = time.monotonic() - started
            if not _is_open(path):
                self._telemetry.finished(record)

    def _without_last_slash(self, scope: Scope) -> Scope:
        """Return the scope of the path without a slash at its end, where that is one of ours.

        The router would redirect, and many clients do not send a body twice, or send it without their key.
        """
        path = path_below_root(scope)
        if not path.endswith("/") or path[:-1] not in self._routes | OPEN_PATHS:
            return scope
        return {**scope, "path": scope["path"][:-1], "raw_path": scope["path"][:-1].encode()}

    async def _guarded(
        self, record: RequestRecord, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path, state = path_below_root(scope), scope["state"]
        asked_openly = _is_open(path) or scope["method"] == "OPTIONS"
        try:
            if not asked_openly:
                record.key = self._checked_label(path, headers)
            # Nobody who needs no key may fill the memory of those who have one.
            limit = 0 if asked_openly else self._max_body_bytes
            # The server below has checked that it is a number.
            _check_size(int(headers.get("content-length", 0)), limit)
            body = await self._read(receive, decoder_for(headers), limit, state["hold"])
        except ClientDisconnect:
            return
        except Refusal as refusal:
            errors: ErrorShape = state["errors"]
            response = JSONResponse(errors.error(refusal), errors.status(refusal), _headers(refusal))
            await response(scope, receive, send)
            return
        await self._app(scope, _replaying(body, record, receive), send)

    def _checked_label(self, path: str, headers: Headers) -> str:
        """Return the label of the key that came with a request; empty where none is needed.

        Raises:
            Refusal: 401 without a valid key, 403 when an admin's is needed.
        """
        if self._keys is None:
            if path in ADMIN_PATHS:
                raise Refusal(403, "adapters can be changed by an admin only; start the server with a key file")
            return ""
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(401, "there is no API key; send it as the header `Authorization: Bearer KEY`")
        key = self._keys.label_of(secret.strip())
        if key is None:
            raise Refusal(401, "the API key is not valid here")
        if path in ADMIN_PATHS and not key.admin:
            raise Refusal(403, f"the API key {key.label!r} is not an admin's, and only an admin can change adapters")
        return key.label

    @contextmanager
    def _memory(self) -> Iterator[Hold]:
        """Give what counts the bytes that a request holds, until the end of the block."""
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self._held_bytes + size > self._max_bodies_bytes:
                raise Refusal(429, "too many large requests at once; try again in a second", retry_after=1)
            self._held_bytes += size
            own += size

        try:
            yield hold
        finally:
            self._held_bytes -= own

    async def _read(self, receive: Receive, decoder: Decoder | None, limit: int, hold: Hold) -> bytes:
        """Return the body, decoded.

        Raises:
            Refusal: 413 too large, 429 too much held for all clients, 408 too slow, 400 damaged where it is compressed.
            ClientDisconnect: the client left before the end.
        """
        body, arrived = bytearray(), 0

        def add(piece: bytes) -> None:
            _check_size(len(body) + len(piece), limit)
            hold(len(piece))
            body.extend(piece)

        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    chunk = message.get("body", b"")
                    arrived += len(chunk)
                    _check_size(arrived, limit)
                    if decoder is None:
                        add(chunk)
                    else:
                        for piece in decoder.pieces(chunk):
                            add(piece)
                            await asyncio.sleep(0)  # others have their turn between two pieces
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {self._body_seconds:g} seconds") from error
        if decoder is not None:
            decoder.end()
        return bytes(body)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Refusal(413, f"the body is larger than {limit} bytes")


def path_below_root(scope: Scope) -> str:
    """Return the path below the prefix that a proxy may add, by the same rule as the router's: of whole parts only.

    Example:
        >>> path_below_root({"path": "/shop/v1/rerank", "root_path": "/shop"})
        '/v1/rerank'
        >>> path_below_root({"path": "/shops/v1/rerank", "root_path": "/shop"})
        '/shops/v1/rerank'
    """
    path, root = scope["path"], scope.get("root_path", "")
    below: str = path.removeprefix(root)
    return below if below in ("", path) or below.startswith("/") else path


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(("/playground/", "/docs/"))


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    # It is echoed in a header and in the log.
    if 1 <= len(given) <= _MOST_ID_CHARACTERS and given.isascii() and given.isprintable():
        return given
    return uuid4().hex


def _headers(refusal: Refusal) -> dict[str, str]:
    # The rest of the body may be on its way still: nobody will read it.
    headers = {"Connection": "close"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.status == 415:
        headers["Accept-Encoding"] = TAKEN
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return headers


def _recording(record: RequestRecord, send: Send) -> Send:
    """Return a `send` that adds the request's id to the response, lets pages read it, and keeps its status."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = record.status or message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = record.request_id
            headers["Access-Control-Expose-Headers"] = EXPOSED
        await send(message)

    return wrapped


def _in_time(send: Send, seconds: float) -> Send:
    """Return a `send` that gives a body in pieces, each once the client has taken the last, within `seconds`.

    A client that is slower is let go, however regularly it reads: its answer must not stay in memory. The server, which
    waits between two pieces, closes a connection whose response is not complete.
    """

    async def wrapped(message: Message) -> None:
        body = message.get("body", b"")
        last = max(len(body) - 1, 0) // _PIECE_BYTES * _PIECE_BYTES
        async with asyncio.timeout(seconds):
            for start in range(0, last, _PIECE_BYTES):
                await send({**message, "body": body[start : start + _PIECE_BYTES], "more_body": True})
            await send({**message, "body": body[last:]} if last else message)

    return wrapped


def _replaying(body: bytes, record: RequestRecord, receive: Receive) -> Receive:
    """Return a `receive` that gives the body, once, and then the client's leaving, which is kept as the status."""
    given = False

    async def wrapped() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        message = await receive()
        if message["type"] == "http.disconnect":
            record.status = record.status or NO_RESPONSE
        return message

    return wrapped
