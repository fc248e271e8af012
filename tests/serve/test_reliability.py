"""Small versions of benchmarks/reliability.py: two real servers, harmed in a few seconds; the last tests end them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm")

SIZES = {"documents": 64, "requests": 24, "clients": 48, "body_seconds": 1.0, "slow": 5, "vanishing": 60}


@pytest.fixture(scope="module")
def reliability() -> Iterator[Any]:
    """The benchmark, imported as its own folder sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("reliability")


@pytest.fixture(scope="module")
def sizes(reliability: Any) -> Any:
    return reliability.Sizes(**SIZES)


@pytest.fixture(scope="module")
def traffic(reliability: Any, sizes: Any, tiny_checkpoint: Path) -> Any:
    return reliability.Traffic(tiny_checkpoint, sizes)


@pytest.fixture(scope="module")
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def server(reliability: Any, sizes: Any, traffic: Any, servers: ExitStack) -> Any:
    """A server whose log is on a full disk, and that has no patience with slow clients."""
    arguments = [
        *reliability.NO_CACHE,
        "--log",
        "/dev/full",
        "--body-timeout",
        str(sizes.body_seconds),
        "--threads",
        "1",
    ]
    return servers.enter_context(reliability.serving(traffic.model, *arguments))


def run(reliability: Any, name: str, server: Any, traffic: Any, sizes: Any) -> dict[str, Any]:
    """Run an experiment, check that all it promises held, and return the figures."""
    notes = reliability.Notes(name)
    reliability.EXPERIMENTS[name].play(notes, server, traffic, sizes)
    assert [finding for finding in notes.findings if not finding.held] == []
    assert any(finding.wanted for finding in notes.findings)
    return {finding.what: finding.value for finding in notes.findings}


@pytest.mark.parametrize("name", ["hostile", "slow", "disk", "vanish"])
def test_a_harmed_server_keeps_its_promises(reliability: Any, name: str, server: Any, traffic: Any, sizes: Any) -> None:
    run(reliability, name, server, traffic, sizes)


def test_a_server_that_is_told_to_stop_finishes_its_work(
    reliability: Any, server: Any, traffic: Any, sizes: Any
) -> None:
    found = run(reliability, "stop", server, traffic, sizes)
    assert found["requests in flight"] > 0
    assert found["later requests refused 503"] + found["later requests, connection refused"] > 0


def test_a_server_whose_engine_is_killed_goes_down(
    reliability: Any, traffic: Any, sizes: Any, servers: ExitStack
) -> None:
    server = servers.enter_context(reliability.serving(traffic.model, *reliability.NO_CACHE))
    found = run(reliability, "kill", server, traffic, sizes)
    assert found["clients answered 200"] < found["requests in flight"]
    assert found["exit code"] == "1"


def test_an_answer_of_another_request_would_be_seen(reliability: Any, traffic: Any) -> None:
    """The comparison that the experiments rest on can fail."""
    one, other = traffic.requests[:2]
    results = [{"index": i, "relevance_score": score} for i, score in enumerate(one.scores)]
    assert one.difference({"results": results[::-1]}) == 0
    assert other.difference({"results": results}) > reliability.SAME
    assert one.difference({"results": results[1:]}) == float("inf")
    assert traffic.least_distance() > reliability.SAME
