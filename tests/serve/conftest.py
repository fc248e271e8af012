"""What the tests of the server's parts share: an engine that is a formula, so that scores can be counted by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest


class Engine:
    """The part of vLLM's engine that scores: the logit of bin k is k times a number that follows from the prompt.

    Attributes:
        slope: gives that number; by default the length of the prompt over 100.
        going: prompts are answered while it is set.
        prompts: the token ids that were asked.
    """

    errored = False

    def __init__(self) -> None:
        self.slope: Callable[[list[int]], float] = lambda ids: len(ids) / 100
        self.going = asyncio.Event()
        self.going.set()
        self.prompts: list[list[int]] = []

    async def encode(self, prompt: Any, params: Any, request_id: str, *, lora_request: Any) -> AsyncIterator[Any]:
        import torch

        ids = prompt["prompt_token_ids"]
        self.prompts.append(ids)
        await self.going.wait()
        yield SimpleNamespace(outputs=SimpleNamespace(data=torch.arange(11) * self.slope(ids)))


@pytest.fixture
def engine() -> Engine:
    return Engine()
