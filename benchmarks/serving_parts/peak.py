"""The most that a machine can do: the rate of its own bfloat16 matrix products."""

from __future__ import annotations

import statistics
import time

import torch

MATMUL_WIDTHS = (1024, 2048, 4096)


def matmul_rates(seconds: float = 2.0) -> dict[str, float]:
    """Return the FLOP/s of square bfloat16 matrix products by width, with all cores: the median product of each."""
    rates = {}
    for width in MATMUL_WIDTHS:
        one, other = (torch.randn(width, width).to(torch.bfloat16) for _ in range(2))
        times: list[float] = []
        one @ other
        while sum(times) < seconds:
            start = time.perf_counter()
            one @ other
            times.append(time.perf_counter() - start)
        rates[str(width)] = 2 * width**3 / statistics.median(times)
    return rates
