"""Small versions of reliability.py's experiments: two real servers, harmed in seconds; the last tests end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from experiments import disk, hostile, kill, slow, stop, vanish
from experiments.finding import Notes, Sizes
from experiments.scored import SAME, ScoredTraffic
from experiments.server import NO_CACHE, Server, serving

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

SIZES = Sizes(documents=64, requests=24, clients=48, body_seconds=1.0, slow=5, vanishing=60)


@pytest.fixture(scope="module")
def traffic(tiny_checkpoint: Path) -> ScoredTraffic:
    return ScoredTraffic(tiny_checkpoint, SIZES.requests, SIZES.documents)


@pytest.fixture(scope="module")
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def server(traffic: ScoredTraffic, servers: ExitStack) -> Server:
    """A server whose log is on a full disk, and that has no patience with slow clients."""
    patience = ("--body-timeout", str(SIZES.body_seconds))
    arguments = (*NO_CACHE, "--log", "/dev/full", *patience, "--threads", "1")
    return servers.enter_context(serving(traffic.model, *arguments))


def figures(experiment: ModuleType, server: Server, traffic: ScoredTraffic) -> dict[str, Any]:
    """Run an experiment, check that all it promises held, and return the figures."""
    notes = Notes(experiment.__name__)
    experiment.harm(notes, server, traffic, SIZES)
    assert [finding for finding in notes.findings if not finding.held] == []
    assert any(finding.wanted for finding in notes.findings)
    return {finding.what: finding.value for finding in notes.findings}


@pytest.mark.parametrize("experiment", [hostile, slow, disk, vanish])
def test_a_harmed_server_keeps_its_promises(experiment: ModuleType, server: Server, traffic: ScoredTraffic) -> None:
    figures(experiment, server, traffic)


def test_a_server_that_is_told_to_stop_finishes_its_work(server: Server, traffic: ScoredTraffic) -> None:
    found = figures(stop, server, traffic)
    assert found["requests in flight"] > 0
    assert found["later requests refused 503"] + found["later requests, connection refused"] > 0


def test_a_server_whose_engine_is_killed_goes_down(traffic: ScoredTraffic, servers: ExitStack) -> None:
    server = servers.enter_context(serving(traffic.model, *NO_CACHE))
    found = figures(kill, server, traffic)
    assert found["clients answered 200"] < found["requests in flight"]
    assert found["exit code"] == "1"


def test_an_answer_of_another_request_would_be_seen(traffic: ScoredTraffic) -> None:
    """The comparison that the experiments rest on can fail."""
    one, other = traffic.requests[:2]
    results = [{"index": i, "relevance_score": score} for i, score in enumerate(one.scores)]
    assert one.difference({"results": results[::-1]}) == 0
    assert other.difference({"results": results}) > SAME
    assert one.difference({"results": results[1:]}) == float("inf")
    assert traffic.least_distance() > SAME
