"""Online scoring: pairs become distributions through an engine that serves other requests at the same time.

The prompts of a request are rendered and tokenized in one call on a thread, so that the event loop stays free, and all
of them are handed to the engine at once; it batches them with everybody else's. HTTP is none of this module's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from gen_rerank.bins import Distribution, Floats
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.records import Pair


class OnlineScorer:
    """Scores pairs with vLLM's asynchronous engine.

    Args:
        engine: vLLM's `EngineClient`, which opened `checkpoint` with `engine_arguments`.
        checkpoint: renders the prompts and corrects the logits.
    """

    def __init__(self, engine: Any, checkpoint: Checkpoint) -> None:
        from vllm import PoolingParams

        self._engine = engine
        self._checkpoint = checkpoint
        self._params = PoolingParams(task="classify", use_activation=False)

    async def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> tuple[Distribution, int]:
        """Return one distribution a pair, in order, and the number of tokens that were read.

        When one prompt fails, or the caller is cancelled, the engine drops the others.

        Raises:
            BadInput: the query has no text.
        """
        encoded = await asyncio.to_thread(self._checkpoint.prompt.encode, pairs, instruction=instruction)
        request = uuid4().hex
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._logits(ids, f"rerank-{request}-{i}")) for i, ids in enumerate(encoded)]
        except ExceptionGroup as failures:
            # One reason is enough, and the server knows how to answer a plain exception.
            raise failures.exceptions[0] from failures
        card = self._checkpoint.card
        logits = np.stack([task.result() for task in tasks])
        scored = Distribution.from_logits(logits, temperature=card.calibration.temperature, values=card.readout.values)
        return scored, sum(len(ids) for ids in encoded)

    async def _logits(self, token_ids: list[int], request_id: str) -> Floats:
        # The engine yields once, when the prompt has been read; a cancelled task makes it abort the prompt.
        async for output in self._engine.encode({"prompt_token_ids": token_ids}, self._params, request_id):
            row: Floats = output.outputs.data.float().numpy()
        return row
