"""What measurements over HTTP share: a server without a deadline, answers that must be good, and its counters."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# In seconds: a slow machine is to be measured, not refused.
NO_DEADLINE = ("--deadline", "1000000")


def answered(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is one.

    Raises:
        RuntimeError: the server refused the request, or failed.
    """
    if not answer.is_success:
        raise RuntimeError(f"the server answered {answer.status_code}: {answer.text[:200]}")
    return answer


def samples(text: str) -> Iterator[Sample]:
    """Yield the samples in a text of /metrics."""
    for family in text_string_to_metric_families(text):
        yield from family.samples
