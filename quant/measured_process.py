"""One visit: a process that opens one checkpoint with one engine, scores what it is told, writes its figures and ends.

A process of its own, because the memory and the start of an engine can be told from nothing else's in no other way,
and because an engine that dies or hangs must harm nobody. `quant.visits` starts one, `quant.cost` makes something of
their figures.

**What is cold.** Every prompt is computed whole: vLLM's prefix cache is off, as in vLLM's own latency and throughput
benchmarks, so that neither a product nor the fixed start of the prompt is read from a cache. (A server keeps that
cache, and answers faster about products that it has seen.) What is timed was not scored before in the visit; the
warm-up has pairs of its own. **What is not cold.** The engine is warm: its first calls are the start and the warm-up.
The token ids of a product's lines are remembered by the prompt, as in a server, so that products which come again,
because the catalog is small, are only looked up.

Rendering and tokenizing belong to what is timed; reading the pairs from their file does not.

Run: python -m quant.measured_process ORDER OUTCOME (two JSON files); it stops when its standard input ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import FrameType

import numpy as np
import psutil
from pydantic import PositiveFloat, PositiveInt

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.scorers.engine_plan import Dtype, EngineChoices, computes_on_cpu, token_bytes
from gen_rerank.scorers.scorer import Scorer
from gen_rerank.system.processes import end_with_parent
from gen_rerank.system.publishing import write_text_whole
from quant.comparison import Engine, FrozenModel, Visit
from quant.workload import LATENCY, SAMPLE, THROUGHPUT, WARM_UP, RequestCount, read_pairs

# More than a forward pass takes on a CPU (2,048 unless a prompt is longer), so that none waits for room.
CACHE_TOKENS = 8192

# Scored first in the warm-up, to learn whether the whole of it would take too long.
_PROBE = 8
# A call of the throughput: enough for the engine to fill its batches, few enough to be held in memory.
_QUERIES_A_CALL = 32
# What the engine's answers on the sample are compared on, at least.
_LEAST_SAMPLE = 8


class VisitBudget(FrozenModel):
    """How long a visit may take.

    Attributes:
        seconds: what the latency and the throughput should take, each.
        least_queries: of the latency, though it take longer; with fewer than 20, the 95th percentile is the slowest.
        most_seconds: what the latency may take in spite of that. A model that needs longer for one query is not
            measured.
        timeout: seconds after which a visit that is not over is stopped, its start included.
    """

    seconds: PositiveFloat = 10.0
    least_queries: PositiveInt = 8
    most_seconds: PositiveFloat = 120.0
    timeout: PositiveFloat = 1800.0

    def affordable(self, query_seconds: float, available: RequestCount) -> RequestCount:
        """Return how many of the available queries fit, where one takes so many seconds."""
        wanted = max(int(self.seconds / query_seconds), self.least_queries)
        most = max(1, int(self.most_seconds / query_seconds))
        return RequestCount(
            latency=min(wanted, most, available.latency),
            throughput=min(max(1, round(self.seconds / query_seconds)), available.throughput),
        )


class VisitOrder(FrozenModel):
    """What a visit is told.

    Attributes:
        folder: the checkpoint's.
        engine: with which it is opened.
        loaded_as: how bitsandbytes quantizes it while it is loaded; None for not at all.
        dtype: of the activations, and of the weights that are not quantized.
        workload: the folder with the requests.
        available: how many there are.
        size: how many are scored; None leaves that to the visit, which then says what it chose.
        sample: whether the scores of the sample are wanted.
        budget: by which a visit chooses.
        started: `time.monotonic()` of the process that started the visit, just before it did.
    """

    folder: Path
    engine: Engine
    loaded_as: str | None
    dtype: Dtype
    workload: Path
    available: RequestCount
    size: RequestCount | None
    sample: bool
    budget: VisitBudget
    started: float


class VisitOutcome(FrozenModel):
    """What a visit answers.

    Attributes:
        figures: None where it was refused.
        refused: why nothing could be measured, in a sentence without the folder.
        size: how many queries were scored.
        sample: the scores of the first pairs of the sample.
    """

    figures: Visit | None = None
    refused: str = ""
    size: RequestCount | None = None
    sample: tuple[float, ...] = ()


def visit(order: VisitOrder) -> VisitOutcome:
    """Do what the order says, in this process, which should be fresh.

    Example:
        >>> visit(order).figures.pairs_per_second  # doctest: +SKIP
        1204.3
    """
    try:
        with _opened(order) as (scorer, cache):
            return _measure(order, scorer, cache)
    except BadInput as error:
        return VisitOutcome(refused=str(error).removeprefix(f"{order.folder}: "))


@contextmanager
def _opened(order: VisitOrder) -> Iterator[tuple[Scorer, int]]:
    """Open the checkpoint, without other engines' libraries; yield also how much of the host's memory is cache."""
    checkpoint = Checkpoint.open(order.folder)
    if order.engine == "vllm":
        from gen_rerank.scorers.vllm import VllmScorer

        # A GPU's cache is not in the host's memory, and an encoder has none.
        counted = computes_on_cpu() and checkpoint.card.readout.kind != "classifier"
        cache = cache_bytes(checkpoint, order.dtype) if counted else 0
        choices = EngineChoices(dtype=order.dtype, cache_gib=cache / 2**30 if counted else None)
        # As the server would run it, but for the prefix cache, which would make some of the products known.
        with VllmScorer(checkpoint, choices=choices, enable_prefix_caching=False) as engine:
            yield engine, cache
        return
    import torch

    dtype: torch.dtype = getattr(torch, order.dtype)
    if order.loaded_as is None:
        from gen_rerank.scorers.transformers import TransformersScorer

        yield TransformersScorer(checkpoint, dtype=dtype), 0
    else:
        from quant.quantized_loading import open_loaded_as

        yield open_loaded_as(checkpoint, order.loaded_as, dtype), 0


def cache_bytes(checkpoint: Checkpoint, dtype: Dtype) -> int:
    """Return the memory of the key-value cache of a visit: of 8,192 tokens, or of two prompts if they are longer.

    The same for all copies of a checkpoint, however small their weights are. A server's is a share of the memory that
    is free, larger the smaller the weights, and resident whether it is used or not.
    """
    tokens = max(CACHE_TOKENS, 2 * checkpoint.card.prompt.max_length)
    return token_bytes(checkpoint, dtype) * tokens


def _measure(order: VisitOrder, scorer: Scorer, cache: int) -> VisitOutcome:
    (warm_up,) = read_pairs(order.workload / WARM_UP, 1)
    scorer.score(warm_up[:1])
    start_seconds = time.monotonic() - order.started
    query_seconds = _warm_up(scorer, warm_up, order.budget)
    size = order.size or order.budget.affordable(query_seconds, order.available)
    latencies = [_seconds(scorer, pairs) for pairs in read_pairs(order.workload / LATENCY, size.latency)]
    pairs, seconds = _throughput(scorer, read_pairs(order.workload / THROUGHPUT, size.throughput))
    # Values that were observed, and not between two of them.
    p50, p95 = np.percentile(latencies, (50, 95), method="inverted_cdf").tolist()
    figures = Visit(
        start_seconds=start_seconds,
        resident_bytes=resident_bytes(),
        pairs_per_second=pairs / seconds,
        p50_seconds=p50,
        p95_seconds=p95,
        queries=len(latencies),
        pairs=pairs,
        cache_bytes=cache,
    )
    scores: tuple[float, ...] = ()
    if order.sample:
        affordable = int(order.budget.seconds / query_seconds * len(warm_up))
        sample = [
            pair for pairs in read_pairs(order.workload / SAMPLE, max(_LEAST_SAMPLE, affordable)) for pair in pairs
        ]
        scores = tuple(scorer.score(sample).mean.tolist())
    return VisitOutcome(figures=figures, size=size, sample=scores)


def _warm_up(scorer: Scorer, pairs: Sequence[Pair], budget: VisitBudget) -> float:
    """Score the pairs but the first, and return the seconds that as many take when the engine is warm.

    Raises:
        BadInput: they would take longer than a visit has.
    """
    seconds = 0.0
    for part in filter(None, (pairs[1:_PROBE], pairs[_PROBE:])):
        seconds = _seconds(scorer, part) / len(part) * len(pairs)
        if seconds > budget.most_seconds:
            raise BadInput(
                f"too slow to be measured here: a query with {len(pairs)} candidates would take about "
                f"{seconds:,.0f} s, and a visit may spend {budget.most_seconds:,.0f} s on it"
            )
    return seconds


def _throughput(scorer: Scorer, requests: Iterator[list[Pair]]) -> tuple[int, float]:
    """Score many queries' candidates in a call; return how many pairs there were, and their seconds."""
    count, seconds = 0, 0.0
    while together := [pair for pairs in islice(requests, _QUERIES_A_CALL) for pair in pairs]:
        seconds += _seconds(scorer, together)
        count += len(together)
    return count, seconds


def _seconds(scorer: Scorer, pairs: Sequence[Pair]) -> float:
    start = time.perf_counter()
    scorer.score(pairs)
    return time.perf_counter() - start


def resident_bytes() -> int:
    """Return the memory of this process and of all below it.

    A page that k processes share counts 1/k in each of them (PSS). Memory of a GPU is not in it.
    """
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            total += process.memory_full_info().pss
    return total


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that the engine's processes are stopped on the way out."""
    sys.exit(128 + number)


def main() -> None:
    """Read the order, visit, write the outcome."""
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent()
    order, outcome = map(Path, sys.argv[1:])
    write_text_whole(outcome, visit(VisitOrder.model_validate_json(order.read_bytes())).model_dump_json())
    sys.stdout.flush()
    # Threads of the libraries, some of which abort the process when the interpreter ends, are of no concern now.
    os._exit(0)


if __name__ == "__main__":
    main()
