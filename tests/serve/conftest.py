"""What the tests of the server share: a browser, and an engine that is a formula, so that scores can be counted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from gen_rerank.system.server import start_server

# As root, and without the calls that a browser makes to its maker's hosts.
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Engine:
    """The part of vLLM's engine that scores: the logit of bin k is k times a number that follows from the prompt.

    Attributes:
        slope: gives that number; by default the length of the prompt over 100.
        going: prompts are answered while it is set.
        prompts: the token ids that were asked.
        cached_tokens: how many tokens of each prompt its prefix cache holds.
    """

    errored = False

    def __init__(self) -> None:
        self.slope: Callable[[list[int]], float] = lambda ids: len(ids) / 100
        self.going = asyncio.Event()
        self.going.set()
        self.prompts: list[list[int]] = []
        self.cached_tokens = 0

    async def encode(self, prompt: Any, params: Any, request_id: str, *, lora_request: Any) -> AsyncIterator[Any]:
        import torch

        ids = prompt["prompt_token_ids"]
        self.prompts.append(ids)
        await self.going.wait()
        row = SimpleNamespace(data=torch.arange(11) * self.slope(ids))
        yield SimpleNamespace(outputs=row, num_cached_tokens=self.cached_tokens)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def tiny_server(tiny_checkpoint: Path, tiny_adapter: Path) -> Iterator[str]:
    """The URL of a server without keys, for tests that only ask: the model `tiny`, its adapter `shop`."""
    arguments = ["--adapter", f"shop={tiny_adapter}", "--dtype", "float32"]
    with start_server(tiny_checkpoint, *arguments, served_name="tiny") as url:
        yield url


@pytest.fixture
def url(tiny_server: str) -> str:
    return tiny_server


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser without a window. Where none is installed its tests skip, or fail with `--require-browser`.

    One a module: while it is open no other test of the process can have an event loop.
    """
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        missing = "no Chromium is installed (as root: apt-get install chromium)"
        pytest.fail(missing) if request.config.getoption("--require-browser") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()
