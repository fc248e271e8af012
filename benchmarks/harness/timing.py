"""How long requests take: one after the other until there are enough, and their percentiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gen_rerank.data.records import Pair
from harness.traffic import Settings

LEAST_REQUESTS = 2


def timed(score: Callable[[list[Pair]], object], requests: Iterator[list[Pair]], settings: Settings) -> list[float]:
    """Return the seconds of one request after the other, until there are enough."""
    latencies: list[float] = []
    for pairs in requests:
        start = time.perf_counter()
        score(pairs)
        latencies.append(time.perf_counter() - start)
        if enough(len(latencies), sum(latencies), settings):
            break
    return latencies


def enough(requests: int, seconds: float, settings: Settings) -> bool:
    """Return whether a row has had its requests."""
    return requests >= settings.requests or (requests >= LEAST_REQUESTS and seconds >= settings.seconds)


def percentiles(latencies: Sequence[float]) -> list[float]:
    """Return the median, the 95th and the 99th percentile: of few, the last two are the slowest one.

    Example:
        >>> percentiles([4.0, 1.0, 2.0])
        [2.0, 4.0, 4.0]
    """
    slowest: list[float] = np.percentile(latencies, (95, 99), method="inverted_cdf").tolist()
    return [statistics.median(latencies), *slowest]
