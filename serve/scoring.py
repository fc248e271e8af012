"""Online scoring: a `Question` becomes an `Answer` through an engine that serves other questions at the same time.

The prompts of a question are rendered and tokenized in one call on a thread, so that the event loop stays free. Scores
that are known come from the score cache; the rest waits its turn and goes to the engine at once, which batches it with
everybody else's. HTTP is none of this module's business.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from cachetools import LRUCache

from gen_rerank.bins import BIN_COUNT, Distribution, Floats
from gen_rerank.calibration.logits import distribution_of
from gen_rerank.calibration.tiers import has_tiers
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Encoded
from serve.admission import Admission
from serve.models import ServedModel, ServedModels
from serve.question import Answer, Blank, Question, Refusal, RenderedPrompt
from serve.threads import on_thread

TOKENIZING_THREADS = min(32, (os.cpu_count() or 1) + 4)
_TOKENIZING = ThreadPoolExecutor(TOKENIZING_THREADS, "tokenizing")


@dataclass
class Progress:
    """What is known of a question while it is being answered, for the log line of one that fails too.

    Attributes:
        model: the served name; empty until it is found.
        queue_seconds: how long the question waited for its turn, in vain too.
    """

    model: str = ""
    queue_seconds: float = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Take the time of the block as that of the wait, however the block ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.queue_seconds = time.monotonic() - began


class ScoreCache:
    """Readout logits by model version and token ids, the least recently used ones dropped first.

    The key is a 128-bit BLAKE2 of the model's version and the prompt. Temperature and thresholds are applied later.

    Args:
        capacity: how many rows of logits are kept; 0 keeps none. A row takes about half a kilobyte.

    Example:
        >>> cache = ScoreCache(2)
        >>> cache[ScoreCache.key("base", [1, 2])] = np.zeros(11, dtype=np.float32)
        >>> ScoreCache.key("base", [1, 2]) in cache, ScoreCache.key("other", [1, 2]) in cache
        (True, False)
    """

    def __init__(self, capacity: int) -> None:
        self._rows: LRUCache[bytes, Floats] = LRUCache(capacity)

    @staticmethod
    def key(version: str, token_ids: Sequence[int]) -> bytes:
        """Return the key of a prompt for a version of a model."""
        digest = hashlib.blake2b(version.encode(), digest_size=16)
        digest.update(array("I", token_ids).tobytes())
        return digest.digest()

    def __contains__(self, key: bytes) -> bool:
        """Say whether a row is kept."""
        return key in self._rows

    def __len__(self) -> int:
        """Return how many rows are kept."""
        return len(self._rows)

    def get(self, key: bytes) -> Floats | None:
        """Return a row, or None."""
        return self._rows.get(key)

    def __setitem__(self, key: bytes, row: Floats) -> None:
        """Keep a row."""
        if self._rows.maxsize:
            self._rows[key] = row


class OnlineScorer:
    """Scores questions with vLLM's asynchronous engine.

    Args:
        engine: vLLM's `EngineClient`, which opened the base with `engine_arguments`.
        models: the names that may be asked for.
        admission: the queue in front of the engine.
        cache: the scores that are known.
    """

    def __init__(self, engine: Any, models: ServedModels, admission: Admission, cache: ScoreCache) -> None:
        from vllm import PoolingParams
        from vllm.inputs.engine import tokens_input

        # What has nothing left to be rendered passes by vLLM's single rendering thread.
        self._prompt = tokens_input
        self._engine = engine
        self._models = models
        self._admission = admission
        self._cache = cache
        self._params = PoolingParams(task="classify", use_activation=False)

    async def answer(self, question: Question, progress: Progress | None = None) -> Answer:
        """Return one distribution an item, in order; blanks are sure of 0, and take no place and no turn.

        When one prompt fails, or the caller is cancelled, the engine drops the others. The same prompt is scored once.

        Raises:
            Refusal: 404 for an unknown model, 422 for a query without text, a prompt that is not the template's or a
                model without tiers where they are needed, 413 for a document that does not fit where that was asked
                for, 429 when too much is waiting, 503 when the engine has stopped, 500 when the model's logits are no
                numbers.
        """
        progress = progress or Progress()
        pairs = question.pairs
        with self._models.using(question.model) as model, self._admission.place(pairs) if pairs else nullcontext():
            progress.model = model.name
            calibration = model.checkpoint.card.calibration
            if question.needs_tiers and not has_tiers(calibration.thresholds):
                raise Refusal(422, f"min_tier must be absent: {model.name!r} has no tiers (gen-rerank calibrate)")
            encoded, keys = await on_thread(_TOKENIZING, lambda: _encode(model, question))
            if question.refuse_cut and any(encoded.cut):
                places = [i for i, item in enumerate(question.items) if not isinstance(item, Blank)]
                raise Refusal(413, f"document {places[encoded.cut.index(True)]} does not fit the model's prompt")
            rows = {key: row for key in set(keys) if (row := self._cache.get(key)) is not None}
            cached = sum(key in rows for key in keys)
            missing = {key: ids for key, ids in zip(keys, encoded.token_ids, strict=True) if key not in rows}
            tokens = sum(map(len, encoded.token_ids))
            cached_tokens = tokens - sum(map(len, missing.values()))
            if missing:
                async with AsyncExitStack() as turn:
                    with progress.waiting():
                        await turn.enter_async_context(self._admission.turn(len(missing)))
                    scored, of_prefixes = await self._score(model, missing)
                    rows |= scored
                    cached_tokens += of_prefixes
            return Answer(
                model=model.name,
                scored=_distributions(model, question, [rows[key] for key in keys]),
                tokens=tokens,
                cached=cached,
                cut=sum(encoded.cut),
                thresholds=calibration.thresholds,
                blanks=frozenset(i for i, item in enumerate(question.items) if isinstance(item, Blank)),
                cached_tokens=cached_tokens,
                histogram=calibration.histogram,
            )

    async def _score(self, model: ServedModel, prompts: dict[bytes, list[int]]) -> tuple[dict[bytes, Floats], int]:
        """Return the logits of each prompt, and how many tokens of all prompts the prefix cache held."""
        from vllm.v1.engine.exceptions import EngineDeadError

        request = uuid4().hex
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    key: group.create_task(self._logits(model, ids, f"rerank-{request}-{i}"))
                    for i, (key, ids) in enumerate(prompts.items())
                }
        except ExceptionGroup as failures:
            # One reason is enough, and the server knows how to answer a plain exception.
            reason = failures.exceptions[0]
            # An engine that was told to stop, too, drops what it has, and says so in several ways.
            if isinstance(reason, EngineDeadError) or self._engine.errored:
                raise Refusal(503, "the engine has stopped; the server is going down") from failures
            raise reason from failures
        rows = {key: task.result()[0] for key, task in tasks.items()}
        for key, row in rows.items():
            if np.isfinite(row).all():  # else it is refused, and so must not be found here later
                self._cache[key] = row
        return rows, sum(task.result()[1] for task in tasks.values())

    async def _logits(self, model: ServedModel, token_ids: list[int], request_id: str) -> tuple[Floats, int]:
        # The engine yields once, when the prompt has been read; a cancelled task makes it abort the prompt.
        async for output in self._engine.encode(
            self._prompt(token_ids), self._params, request_id, lora_request=model.lora
        ):
            # A copy: what is kept must not keep the engine's message with it.
            row: Floats = output.outputs.data.float().numpy().copy()
            of_prefix: int = output.num_cached_tokens
        return row, of_prefix


def _encode(model: ServedModel, question: Question) -> tuple[Encoded, list[bytes]]:
    """Return the token ids of all items but the blanks, in order, and their cache keys."""
    prompt, prompt_tokens = model.checkpoint.prompt, question.limits.prompt_tokens
    if prompt_tokens is not None and prompt_tokens < prompt.least_length:
        # In the client's words: it knows the limit by the name that it sent.
        raise Refusal(
            422,
            f"truncate_prompt_tokens is {prompt_tokens}; the model's template alone has {prompt.least_length - 1} "
            f"tokens, so it must be at least {prompt.least_length}",
        )
    pairs = [item for item in question.items if isinstance(item, Pair)]
    try:
        encoded = prompt.prepare(pairs, instruction=question.instruction, limits=question.limits)
        rendered = prompt.parse([item.text for item in question.items if isinstance(item, RenderedPrompt)])
    except BadInput as error:
        raise Refusal(422, str(error)) from error
    of_pairs = iter(zip(encoded.token_ids, encoded.cut, strict=True))
    of_rendered = iter(rendered)
    rows = [
        (next(of_rendered), False) if isinstance(item, RenderedPrompt) else next(of_pairs)
        for item in question.items
        if not isinstance(item, Blank)
    ]
    return Encoded([ids for ids, _ in rows], [cut for _, cut in rows]), [
        ScoreCache.key(model.version, ids) for ids, _ in rows
    ]


def _distributions(model: ServedModel, question: Question, logits: Sequence[Floats]) -> Distribution:
    """Return the distribution of each item; `logits` has a row for each that is no blank."""
    blank = np.array([isinstance(item, Blank) for item in question.items])
    probabilities = np.eye(1, BIN_COUNT, dtype=np.float32).repeat(len(blank), axis=0)
    if not logits:
        return Distribution(probabilities)
    try:
        scored = distribution_of(np.stack(logits), model.checkpoint.card)
    except BadInput as error:
        raise Refusal(500, "the model's answer is not a number; this checkpoint is broken") from error
    probabilities[~blank] = scored.probabilities
    # As it is where it can be: another pass through float32 could move a score by its last bit.
    return Distribution(probabilities) if blank.any() else scored
