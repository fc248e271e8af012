"""The playground: a page, served by the server itself, on which a person ranks products and sees each distribution.

The page is four plain JavaScript modules, a style sheet and some sample shops, read from this package once; it needs
no build and asks nobody but this server. It is a client like any other: it calls `/v1/models` and `/v1/rerank` and
knows nothing else of the server. The files are sent with a policy that lets the browser load from here alone and run
no script that stands in the page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

# Fixed here: what `mimetypes` says of .js depends on the machine, and browsers refuse a module of the wrong type.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept by the browser, but asked for each time: a new version of the server shows its own page at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@router.get("/playground")
async def page(request: Request) -> Response:
    """Return the page itself."""
    return _sent("index.html", request)


@router.get("/playground/{file}")
async def part(file: str, request: Request) -> Response:
    """Return a file that the page loads."""
    return _sent(file, request)


def _sent(name: str, request: Request) -> Response:
    found = _files().get(name)
    if found is None:
        return JSONResponse({"detail": "the playground has no such file"}, 404, _HEADERS)
    headers = _HEADERS | {"ETag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


@cache
def _files() -> dict[str, _File]:
    """Return what may be sent, by name: no path that a client writes ever reaches the file system."""
    sent = {}
    for entry in files(__name__).iterdir():
        media_type = _MEDIA_TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is not None:
            content = entry.read_bytes()
            sent[entry.name] = _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return sent
