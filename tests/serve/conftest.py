"""What the tests of the server share: a browser, and an engine that is a formula, so that scores can be counted."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from gen_rerank import Reranker
from gen_rerank.system.server import start_server
from tests.conftest import COLOURS, THINGS

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


@dataclass(frozen=True)
class Tiered:
    """An adapter with tiers: of some titles the best one is close to a query, and all others are irrelevant."""

    folder: Path
    query: str
    titles: list[str]
    best: int


@pytest.fixture(scope="session")
def tiered(tiny_checkpoint: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiered:
    """The tiny adapter with the best and the four worst of 64 titles; `close` begins halfway between them."""
    query = "red desk"
    reranker = Reranker.load(tiny_checkpoint, adapter=tiny_adapter, dtype="float32")
    best, *others = reranker.rank(query, [f"{colour} {thing}" for colour in COLOURS for thing in THINGS])
    worst = others[-4:]
    folder = Path(shutil.copytree(tiny_adapter, tmp_path_factory.mktemp("tiered") / "shop"))
    card = json.loads((folder / "gen_rerank.json").read_text())
    card["calibration"]["thresholds"] = {"exact": 1.0, "close": (best.score + worst[0].score) / 2}
    (folder / "gen_rerank.json").write_text(json.dumps(card))
    return Tiered(folder, query, [one.product.title for one in (*worst[:2], best, *worst[2:])], 2)


@pytest.fixture(scope="session")
def tiny_server(tiny_checkpoint: Path, tiered: Tiered) -> Iterator[str]:
    """The URL of a server without keys, for tests that only ask: the model `tiny`, its adapter `shop` with tiers."""
    arguments = ["--adapter", f"shop={tiered.folder}", "--dtype", "float32"]
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
