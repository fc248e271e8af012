"""What a person may choose when starting the server, with the defaults; the command line and tests make one of these.

Choices about the engine (threads, memory, batches) are in `gen_rerank.scorers.engine_plan`: they depend on the computer
that is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gen_rerank.errors import BadInput
from serve.phrases import Phrase

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class ServeOptions:
    """How the server treats its clients.

    Attributes:
        name: what clients call the base; the model as it was given, unless told otherwise.
        adapters: (name, path) of each LoRA adapter that is served from the start.
        adapter_folder: adapters can be loaded at run time from below this folder; None means from nowhere.
        max_adapters: how many adapters may be served at once.
        max_adapter_rank: the largest rank of an adapter that is loaded at run time.
        keys: the file of hashed API keys; None means that everybody may ask.
        cors_origins: the origins of other web pages that may read answers in a browser, or `*` for all.
        max_documents: the most pairs of one request.
        empty_documents: what becomes of documents without text, where a request does not say: `refuse` or `last`.
        phrases: words around a product or a query in a typed question, which are taken off.
        max_body_bytes: the most bytes of one request's body.
        max_bodies_bytes: the most bytes of all bodies and answers that are held at once.
        max_queued_pairs: the most pairs that wait or are being scored; past it the answer is 429.
        body_seconds: the time that a client has to send its body, and to take its answer.
        deadline_seconds: the most time that a request may take; a client can ask for less with `X-Request-Timeout`.
        drain_seconds: how long requests that are being answered may go on after SIGTERM.
        score_cache: how many scores are kept; 0 keeps none.
        log: the file to which one line of JSON a request is added; None means standard error.

    Raises:
        BadInput: one request's limit is larger than that of all requests together, or an origin is none.
    """

    name: str | None = None
    adapters: tuple[tuple[str, str], ...] = ()
    adapter_folder: Path | None = None
    max_adapters: int = 4
    max_adapter_rank: int = 32
    keys: Path | None = None
    cors_origins: tuple[str, ...] = ()
    max_documents: int = 1024
    empty_documents: Literal["refuse", "last"] = "refuse"
    phrases: tuple[Phrase, ...] = ()
    max_body_bytes: int = 32 * 2**20
    max_bodies_bytes: int = 512 * 2**20
    max_queued_pairs: int = 16_384
    body_seconds: float = 30.0
    deadline_seconds: float = 120.0
    drain_seconds: float = 30.0
    score_cache: int = 200_000
    log: Path | None = None

    def __post_init__(self) -> None:
        """Check the limits against each other."""
        if self.max_documents > self.max_queued_pairs:
            raise BadInput(
                f"--max-documents {self.max_documents} is more than --max-queued-pairs {self.max_queued_pairs}: "
                "a request of that size could never be answered"
            )
        if self.max_body_bytes > self.max_bodies_bytes:
            raise BadInput(f"a body may have at most {self.max_bodies_bytes // 2**20} MiB (--max-body-mib)")
        for origin in self.cors_origins:
            # A browser sends exactly this form, so that another would never be found.
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise BadInput(
                    f"--cors-origin {origin}: give a scheme and a host in lower case, with a port where it is not the "
                    "scheme's own and nothing behind, as in https://shop.example or http://localhost:3000; or * for all"
                )


def named_adapter(given: str) -> tuple[str, str]:
    """Return the name and the path in `NAME=PATH`.

    Raises:
        BadInput: the name, the path or the sign between them is missing.

    Example:
        >>> named_adapter("garden=runs/garden")
        ('garden', 'runs/garden')
    """
    name, equals, path = given.partition("=")
    if not (name.strip() and equals and path.strip()):
        raise BadInput(f"--adapter {given}: give a name and a folder, as in --adapter garden=runs/garden")
    return name.strip(), path.strip()
