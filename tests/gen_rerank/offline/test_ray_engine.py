"""Pairs scored by workers of a local Ray: as in one process, also when workers and the driver are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from gen_rerank.offline.plan import ScoringPlan
from gen_rerank.offline.scoring import score_offline
from tests.conftest import complaint
from tests.gen_rerank.offline.shards_on_disk import done

pytest.importorskip("ray")
ROOT = Path(__file__).parents[3]
ROWS, SHARD = 400, 8


@pytest.fixture(scope="module")
def pairs(differing_pairs, tmp_path_factory) -> Path:
    """Pairs that differ; the last row is bad."""
    return differing_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", ROWS, "no json")


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(process: subprocess.Popen[str], out: Path, count: int) -> None:
    deadline = time.monotonic() + 500
    while len(done(out)) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the pool, by what Ray calls them."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [one.pid for one in below if "_PoolWorker" in "".join(one.cmdline())]


@pytest.mark.slow
def test_workers_and_the_driver_are_killed_and_nothing_is_lost(pairs, tiny_checkpoint, read_scores, tmp_path) -> None:
    out = tmp_path / "scores"
    shared = [tiny_checkpoint, pairs, "--shard-rows", SHARD, "--json"]
    ray = ["--engine", "ray", "--workers", 2, "--worker-cores", 1, "--out", out]
    words = [sys.executable, "-W", "ignore", "-m", "gen_rerank", "score", *map(str, [*shared, *ray])]
    first = started(words)
    wait_for(first, out, 2)
    os.kill(workers_of(first)[0], signal.SIGKILL)
    wait_for(first, out, 6)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    time.sleep(10)  # Ray ends its processes by itself; one may still finish a shard
    kept = done(out)
    assert 6 <= len(kept) < ROWS / SHARD

    second = started(words)
    wait_for(second, out, len(kept) + 4)
    os.kill(workers_of(second)[-1], signal.SIGKILL)
    printed, err = second.communicate(timeout=550)
    assert second.returncode == 0, err
    said = json.loads(printed)  # nothing of Ray's is there
    assert (said["rows"], said["pairs"], said["bad"], said["lost"]) == (ROWS + 1, ROWS, 1, 0)
    assert done(out).items() >= kept.items()
    rows = read_scores(out)
    assert [row["query_id"] for row in rows] == [f"q{i}" for i in range(ROWS)]

    alone = ScoringPlan(str(tiny_checkpoint), tmp_path / "alone", pairs=pairs, shard_rows=SHARD)
    score_offline(alone)
    expected = read_scores(alone.out)
    assert [row["content"] for row in rows] == [row["content"] for row in expected]
    assert np.allclose([row["score"] for row in rows], [row["score"] for row in expected], atol=1e-5)


@pytest.mark.slow
def test_what_ray_cannot_do_is_one_sentence(run, pairs, tiny_checkpoint, tmp_path) -> None:
    words = ("score", tiny_checkpoint, pairs, "--out", tmp_path / "out", "--engine", "ray")
    assert "do not fit: there is room for" in complaint(run(*words, "--workers", 1000))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:65535", "no-such-host.invalid:6379"])
def test_an_address_where_nothing_answers_is_told_at_once(run, pairs, tiny_checkpoint, tmp_path, address) -> None:
    words = ("score", tiny_checkpoint, pairs, "--out", tmp_path / "out", "--engine", "ray", "--address", address)
    assert f"--address {address}: no Ray cluster answers" in complaint(run(*words))


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1", ":6379", "127.0.0.1:70000", "head:port"])
def test_what_is_no_address_is_told(run, pairs, tiny_checkpoint, tmp_path, address) -> None:
    words = ("score", tiny_checkpoint, pairs, "--out", tmp_path / "out", "--engine", "ray", "--address", address)
    assert f"--address {address}: give HOST:PORT" in complaint(run(*words))
