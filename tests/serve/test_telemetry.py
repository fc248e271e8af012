"""Metrics that add up, and log lines that survive a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gen_rerank import Distribution
from gen_rerank.errors import BadInput
from serve.admission import Admission
from serve.telemetry import RequestRecord, Telemetry


def answered(**changes: Any) -> RequestRecord:
    given = {
        "request_id": "id-1",
        "route": "/v1/rerank",
        "method": "POST",
        "status": 200,
        "model": "base",
        "pairs": 3,
        "tokens": 120,
        "cached": 1,
        "cut": 2,
        "queue_seconds": 0.02,
        "seconds": 0.3,
        "key": "shop",
        "scored": Distribution(np.eye(11)[[0, 5, 10]]),
    }
    return RequestRecord(**(given | changes))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_metrics_add_up(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(tmp_path / "log.jsonl", registry=registry)
    telemetry.finished(answered())
    telemetry.finished(answered(scored=Distribution(np.full((1, 11), 1 / 11)), pairs=1, cached=0, cut=0))
    telemetry.finished(answered(status=429, model="", scored=None))
    telemetry.close()
    base = {"model": "base"}
    on_route = {"route": "/v1/rerank", "model": "base"}

    def value(name: str, labels: dict[str, str] | None = None) -> float | None:
        return registry.get_sample_value(name, labels or {})

    assert value("gen_rerank_requests_total", on_route | {"status": "200"}) == 2
    assert value("gen_rerank_requests_total", {"route": "/v1/rerank", "model": "", "status": "429"}) == 1
    assert value("gen_rerank_pairs_total", on_route) == 4
    assert value("gen_rerank_pairs_total", {"route": "/v1/rerank", "model": ""}) is None
    assert value("gen_rerank_tokens_total", base) == 240
    assert value("gen_rerank_cached_pairs_total", base) == 1
    assert value("gen_rerank_cut_documents_total", base) == 2
    assert value("gen_rerank_request_seconds_count", {"route": "/v1/rerank"}) == 3
    assert value("gen_rerank_request_seconds_sum", {"route": "/v1/rerank"}) == pytest.approx(0.9)
    assert value("gen_rerank_queue_seconds_count") == 2
    assert value("gen_rerank_queue_seconds_bucket", {"le": "0.025"}) == 2
    assert value("gen_rerank_score_count", base) == 4
    assert value("gen_rerank_score_sum", base) == pytest.approx(2.0)
    assert value("gen_rerank_score_bucket", base | {"le": "0.05"}) == 1
    assert value("gen_rerank_score_bucket", base | {"le": "1.0"}) == 4
    assert value("gen_rerank_score_std_count", base) == 4
    assert value("gen_rerank_score_std_sum", base) == pytest.approx(0.1**0.5)  # three are sure, one is uniform
    assert value("gen_rerank_log_lines_lost_total") == 0


def test_gauges_follow_the_queue(tmp_path: Path) -> None:
    import asyncio

    registry = CollectorRegistry()
    telemetry = Telemetry(tmp_path / "log.jsonl", registry=registry)
    admission = Admission(max_pairs=100, window=10)
    telemetry.watch(admission)

    async def play() -> list[float | None]:
        with admission.place(17):
            async with admission.turn(12):
                waiter = asyncio.create_task(admission.turn(5).__aenter__())
                await asyncio.sleep(0)
                seen = [registry.get_sample_value(f"gen_rerank_pairs_{name}") for name in ("running", "waiting")]
                waiter.cancel()
                return seen

    assert asyncio.run(play()) == [12, 5]
    assert registry.get_sample_value("gen_rerank_pairs_running") == 0
    telemetry.close()


def test_a_line_says_what_happened_and_nothing_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"earlier": 1}\n')
    telemetry = Telemetry(file, registry=CollectorRegistry())
    telemetry.finished(answered())
    telemetry.finished(answered(request_id='a"b', status=422, scored=None))
    telemetry.finished(answered(status=500, scored=None))
    telemetry.close()
    earlier, first, second, third = lines(file)
    assert earlier == {"earlier": 1}
    moment = datetime.fromisoformat(first.pop("time"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert first == {
        "level": "info",
        "request_id": "id-1",
        "method": "POST",
        "route": "/v1/rerank",
        "model": "base",
        "status": 200,
        "pairs": 3,
        "tokens": 120,
        "cached": 1,
        "cut": 2,
        "queue_ms": 20.0,
        "ms": 300.0,
        "key": "shop",
    }
    assert (second["level"], second["request_id"]) == ("warning", 'a"b')
    assert third["level"] == "error"


def test_a_log_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"the log cannot be opened \(Is a directory\)"):
        Telemetry(tmp_path, registry=CollectorRegistry())
    with pytest.raises(BadInput, match=r"cannot be opened \(No such file"):
        Telemetry(tmp_path / "no" / "log.jsonl", registry=CollectorRegistry())


def test_a_full_disk_loses_lines_counts_them_and_nothing_else() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(Path("/dev/full"), registry=registry)
    for _ in range(100):
        telemetry.finished(answered())
    telemetry.close()
    assert registry.get_sample_value("gen_rerank_log_lines_lost_total") == 100
    assert registry.get_sample_value("gen_rerank_score_count", {"model": "base"}) == 300


FULL_THEN_FREE = """
import resource, signal, sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from serve.telemetry import RequestRecord, Telemetry

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
registry, file = CollectorRegistry(), Path(sys.argv[1])
telemetry = Telemetry(file, registry=registry)

def send(name):
    telemetry.finished(RequestRecord(name, "/v1/rerank", "POST", status=200))
    time.sleep(0.1)

send("before")
length = file.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (length + 20, resource.RLIM_INFINITY))
send("torn")
send("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
send("after")
send("again")
telemetry.close()
print(registry.get_sample_value("gen_rerank_log_lines_lost_total"))
"""


def test_after_the_disk_has_room_again_whole_lines_are_written(tmp_path: Path) -> None:
    """A limit on the file's size is a disk that takes 20 more bytes, then none, then all."""
    file = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", FULL_THEN_FREE, str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert float(ended.stdout) == 2
    before, torn, after, again = file.read_text().splitlines()
    assert len(torn) == 20
    assert [json.loads(line)["request_id"] for line in (before, after, again)] == ["before", "after", "again"]


def test_a_reader_that_is_stuck_holds_no_request_up(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    registry = CollectorRegistry()
    telemetry = Telemetry(fifo, registry=registry)
    started = time.perf_counter()
    for _ in range(12_000):
        telemetry.finished(answered(scored=None))
    assert time.perf_counter() - started < 5
    lost = registry.get_sample_value("gen_rerank_log_lines_lost_total")
    assert lost is not None
    assert 0 < lost <= 2_000  # 10,000 wait; the pipe took some, if the writer had its turn
    os.close(reader)  # what is written now fails
    telemetry.close()
    assert registry.get_sample_value("gen_rerank_log_lines_lost_total") == pytest.approx(12_000, abs=600)


AT_THE_END = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from serve import telemetry

telemetry.CLOSE_SECONDS = float(sys.argv[1])
log = telemetry.Telemetry(Path(sys.argv[2]) if sys.argv[2] else None, registry=CollectorRegistry())
for i in range(1000):  # more than a pipe holds
    log.finished(telemetry.RequestRecord(f"{i:03}", "/v1/rerank", "POST", status=200))
print("that is all", flush=True)
"""


def at_the_end(seconds: float, log: Path | None, **streams: Any) -> subprocess.Popen[str]:
    """A process that has logged 1000 requests and says so, then ends, with `seconds` for its log."""
    command = [sys.executable, "-c", AT_THE_END, str(seconds), str(log or "")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)
    assert process.stdout is not None
    assert process.stdout.readline() == "that is all\n"
    return process


def test_what_waits_for_a_slow_disk_is_written_before_the_process_ends(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with at_the_end(30, fifo, stderr=subprocess.PIPE) as process, FileIO(reader) as pipe:
        time.sleep(0.5)
        assert process.poll() is None, "it waits"
        os.set_blocking(reader, True)
        found = [json.loads(line)["request_id"] for line in pipe.read().splitlines()]
        assert process.stderr is not None
        assert (process.wait(30), process.stderr.read()) == (0, "")
    assert found == [f"{i:03}" for i in range(1000)]


def test_a_process_does_not_wait_long_for_a_disk_that_is_stuck_and_says_what_is_lost(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with at_the_end(0.2, fifo, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.wait(30) == 0
        lost, _, words = process.stderr.read().partition(" ")
    assert words == "lines of the request log were lost\n"
    with FileIO(reader) as pipe:
        written = pipe.read().count(b"\n")
    assert 0 < written == 1000 - int(lost)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_standard_error_that_takes_nothing_holds_nobody_up(blocking: bool) -> None:
    read, write = os.pipe()
    os.set_blocking(write, blocking)
    with at_the_end(0.2, None, stderr=write) as process:
        os.close(write)
        assert process.wait(30) == 0
    with FileIO(read) as pipe:
        lines = pipe.read().splitlines()
    whole = [json.loads(line)["request_id"] for line in lines[:-1]]
    assert whole == [f"{i:03}" for i in range(len(whole))]
    assert 100 < len(whole) < 1000


def test_without_a_file_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry = Telemetry(None, registry=CollectorRegistry())
    telemetry.finished(answered(request_id="here"))
    telemetry.close()
    assert json.loads(capfd.readouterr().err)["request_id"] == "here"
