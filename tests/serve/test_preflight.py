"""What is refused before the engine starts, in one sentence."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.system.server import start_server
from serve.preflight import check_readout_rows

pytest.importorskip("vllm")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--adapter", "garden"], "give a name and a folder"),
        (["--adapter", "a=none"], "none: no such folder"),
        (["--adapter-folder", "none"], "--adapter-folder none: no such folder"),
        (["--keys", "none"], "none: the key file cannot be read"),
        (["--threads", "99"], "--threads 99"),
        (["--dtype", "int4"], "--dtype int4"),
        (["--max-documents", "10", "--max-queued-pairs", "5"], "could never be answered"),
        (["--port", "99999"], "a port is between 1 and 65535"),
        (["--log", "none/requests.jsonl"], "none/requests.jsonl: the log cannot be opened"),
        (["--", "--lora-modules", "a=b"], "use --adapter NAME=PATH"),
        (["--", "--runner", "generate"], "--runner is chosen by gen-rerank"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    command = [sys.executable, "-m", "gen_rerank", "serve", str(tiny_checkpoint), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert words in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_one_sentence(tiny_checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gen_rerank", "serve", str(tiny_checkpoint), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_what_is_no_checkpoint_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gen_rerank\.json is missing"), start_server(tmp_path):
        pass


def test_a_readout_in_the_first_part_of_the_matrix_may_be_cut(tiny_checkpoint: Path) -> None:
    """The public answers "no" and "yes" are early in their vocabulary; the bin tokens are its last."""
    checkpoint = Checkpoint.open(tiny_checkpoint)
    first = checkpoint.card.readout.token_ids[0]
    check_readout_rows(replace(checkpoint, config=checkpoint.config | {"vocab_size": 2 * (first + 11)}), 2)
    with pytest.raises(BadInput, match="--tensor-parallel-size 2"):
        check_readout_rows(replace(checkpoint, config=checkpoint.config | {"vocab_size": 2 * (first + 10)}), 2)
    check_readout_rows(checkpoint, 1)
