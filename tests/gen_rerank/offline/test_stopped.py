"""Real runs that are stopped while they score: kill -9 twice, Ctrl-C, a full disk. What was scored stands."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gen_rerank.offline.plan import ScoringPlan
from gen_rerank.offline.scoring import score_offline
from tests.gen_rerank.offline.shards_on_disk import done

ROOT = Path(__file__).parents[3]
ROWS, SHARD = 600, 8


@pytest.fixture(scope="module")
def pairs(differing_pairs, tmp_path_factory) -> Path:
    """Pairs that differ, more than are scored in a moment."""
    return differing_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", ROWS)


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "gen_rerank", "score", *map(str, words)]


def stopped(words: list[str], out: Path, more: int, stop: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start a run and stop it when it has written some shards more."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    wanted, deadline = len(done(out)) + more, time.monotonic() + 300
    while len(done(out)) < wanted:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(stop)
    printed, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(words, process.returncode, printed, err)


@pytest.mark.slow
def test_a_run_that_is_killed_twice_loses_nothing_and_does_nothing_twice(
    pairs, tiny_checkpoint, read_scores, tmp_path
) -> None:
    out = tmp_path / "scores"
    words = command(tiny_checkpoint, pairs, "--out", out, "--shard-rows", SHARD, "--json")
    kept: dict[str, int] = {}
    for more in (2, 3):
        killed = stopped(words, out, more, signal.SIGKILL)
        assert killed.returncode == -signal.SIGKILL
        assert done(out).items() >= kept.items()
        kept = done(out)
    assert 5 <= len(kept) < ROWS / SHARD
    last = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    said = json.loads(last.stdout)
    assert (said["rows"], said["pairs"], said["lost"], said["bad"]) == (ROWS, ROWS, 0, 0)
    assert said["scored_now"] == ROWS - SHARD * len(kept)
    assert done(out).items() >= kept.items()
    assert [row["query_id"] for row in read_scores(out)] == [f"q{i}" for i in range(ROWS)]
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept(pairs, tiny_checkpoint, tmp_path) -> None:
    out = tmp_path / "scores"
    words = command(tiny_checkpoint, pairs, "--out", out, "--shard-rows", SHARD)
    ended = stopped(words, out, 1, signal.SIGINT)
    assert ended.returncode == 130
    assert ended.stderr.splitlines()[-1] == (
        f"error: interrupted; what is scored is kept in {out}; the same command goes on"
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("room", [100, 3_000], ids=["none", "too little for a shard"])
def test_a_full_disk_is_one_sentence(room: int, pairs, tiny_checkpoint, tmp_path) -> None:
    """The disk is "full" for files above a limit; with room, the same command goes on."""
    out = tmp_path / "scores"
    few = tmp_path / "few.jsonl"
    few.write_text("".join(pairs.read_text().splitlines(keepends=True)[:24]))
    plan = ScoringPlan(str(tiny_checkpoint), out, pairs=few, shard_rows=20)

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    failed = subprocess.run(
        command(tiny_checkpoint, few, "--out", out, "--shard-rows", 20),
        capture_output=True, text=True, check=False, cwd=ROOT, preexec_fn=small_files_only,
    )  # fmt: skip
    assert failed.returncode == 2, failed.stderr
    said = failed.stderr.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "the disk is full" in said
    assert "Traceback" not in failed.stderr
    assert score_offline(plan).totals.pairs == 24
