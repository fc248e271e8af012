"""A labelling that is killed at any time goes on where it was: what the journal has is not asked again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from gen_rerank import Dataset

CONCURRENCY = 4


def start(data: Path, judges: Path, out: Path, journal: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gen_rerank", "label", str(data), "--judges", str(judges), "--out", str(out)]
    command += ["--journal", str(journal), "--budget", "60 pairs", "--yes"]
    with out.with_name("log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def journalled(journal: Path) -> int:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as opened:
        return int(opened.execute("SELECT count(*) FROM answers").fetchone()[0])


def wait_for(served, answers: int, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while len(served.bodies) < answers:
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_asked_twice(served, tiny_data, tmp_path, end):
    served.delay = 0.05
    judges = served.yaml(
        tmp_path / "judges.yaml",
        f"model: kind, concurrency: {CONCURRENCY}",
        f"model: strict, reading: logprobs, concurrency: {CONCURRENCY}",
    )
    journal, out = tmp_path / "shop.journal", tmp_path / "killed"
    lost = 0
    for answers in (15, 60):
        running = start(tiny_data, judges, out, journal)
        wait_for(served, answers, running, tmp_path / "log")
        os.kill(running.pid, end)
        assert running.wait(60) in (-signal.SIGKILL, 130)
        assert not out.exists()
        time.sleep(0.2)  # what was under way is answered into nothing, and counted
        kept = journalled(journal)
        lost += len(served.bodies) - lost - kept
        assert 0 <= lost <= 2 * 2 * CONCURRENCY
        assert kept > 0
    assert start(tiny_data, judges, out, journal).wait(120) == 0
    # Each pair once, but for those whose answers were under way at an end.
    assert len(served.bodies) == 2 * 60 + lost
    assert sum(count - 1 for count in served.asked.values()) == lost
    assert start(tiny_data, judges, tmp_path / "whole", tmp_path / "whole.journal").wait(120) == 0
    assert (out / "judgments.jsonl").read_bytes() == (tmp_path / "whole/judgments.jsonl").read_bytes()
    assert len(Dataset.load(out).judgments) == 60
