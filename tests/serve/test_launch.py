"""Starting and stopping, where no client is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
import torch

from gen_rerank import BadInput, Pair
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.dequantize import dequantize
from gen_rerank.reranker import as_product
from gen_rerank.scorers.engine_plan import EngineChoices
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.processes import free_port
from gen_rerank.system.server import start_server_process
from quant.quantize import quantize
from serve.launch import serve_model

pytest.importorskip("vllm")


@pytest.mark.parametrize(
    ("number", "send"),
    [
        pytest.param(signal.SIGINT, os.kill, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, os.killpg, marks=pytest.mark.slow),
        (signal.SIGTERM, os.kill),
        pytest.param(signal.SIGTERM, os.killpg, marks=pytest.mark.slow),
    ],
)
def test_a_server_that_is_starting_can_be_stopped(
    tiny_checkpoint: Path, tmp_path: Path, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    """Alone, or with the engine's process that is on its way, as Ctrl-C in a terminal does it."""
    command = [sys.executable, "-m", "gen_rerank", "serve", str(tiny_checkpoint), "--port", str(free_port())]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        process = psutil.Process(server.pid)
        end = time.monotonic() + 120
        while not any("EngineCore" in child.name() for child in process.children()) and time.monotonic() < end:
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        started = process.children(recursive=True)
        send(server.pid, number)
        assert server.wait(60) in (1, 128 + number)
        assert "error: " in (tmp_path / "log").read_text().splitlines()[-1]
        _, alive = psutil.wait_procs(started, timeout=30)
        assert not alive
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.usefixtures("environment")
def test_the_arguments_are_checked_before_the_engine_starts(tiny_checkpoint: Path) -> None:
    said: list[str] = []
    with pytest.raises(BadInput, match="--max-model-len is chosen by gen-rerank"):
        serve_model(str(tiny_checkpoint), port=free_port(), say=said.append, vllm=["--max-model-len", "64"])
    with pytest.raises(BadInput, match=r"--tensor-parallel-size 2: .* where they are not; use --data-parallel-size"):
        serve_model(str(tiny_checkpoint), port=free_port(), say=said.append, vllm=["--tensor-parallel-size", "2"])
    assert not any("starting the engine" in line for line in said)


@pytest.fixture(scope="module")
def mxfp4(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return quantize(tiny_checkpoint, "mxfp4", tmp_path_factory.mktemp("mxfp4") / "model")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what `serve_model` sets."""
    for name in ("VLLM_PLUGINS", "VLLM_CPU_OMP_THREADS_BIND"):
        monkeypatch.setenv(name, os.environ.get(name, "0" if name.endswith("BIND") else ""))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU vLLM has a kernel")
@pytest.mark.usefixtures("environment")
def test_a_scheme_without_a_kernel_is_refused_before_the_engine_starts(mxfp4: Checkpoint) -> None:
    said: list[str] = []
    with pytest.raises(BadInput, match=r"vLLM cannot serve mxfp4 .*the MXFP4 linear layer\); --dequantize serves its"):
        serve_model(str(mxfp4.folder), port=free_port(), say=said.append)
    assert not any("starting the engine" in line for line in said)


@pytest.mark.usefixtures("environment")
def test_there_must_be_something_to_dequantize(tiny_checkpoint: Path) -> None:
    with pytest.raises(BadInput, match="not quantized, so there is nothing to dequantize; leave --dequantize out"):
        serve_model(str(tiny_checkpoint), port=free_port(), choices=EngineChoices(dequantize=True))


@pytest.mark.slow
def test_packed_weights_are_unpacked_and_the_folder_goes_with_the_server(
    mxfp4: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = ["red desk", "blue sofa for every day", "lamp"]
    plain = dequantize(mxfp4, tmp_path / "plain").checkpoint
    expected = TransformersScorer(plain).score([Pair("red desk", as_product(text)) for text in documents]).mean
    scratch, log = tmp_path / "scratch", tmp_path / "log"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    options = ("--dequantize", "--dtype", "float32", "--cache-gib", "0.5")
    with start_server_process(mxfp4.folder, *options, log=log) as (url, server):
        asked = {"model": str(mxfp4.folder), "query": "red desk", "documents": documents}
        answer = httpx.post(f"{url}/v1/rerank", json=asked, timeout=120)
        assert answer.status_code == 200, answer.text
        rows = sorted(answer.json()["results"], key=lambda row: row["index"])
        assert [row["relevance_score"] for row in rows] == pytest.approx(expected, abs=1e-4)
        (card,) = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
        assert card["root"] == str(mxfp4.folder)
        assert "mxfp4, unpacked in" in log.read_text()
        (unpacked,) = scratch.glob("gen_rerank_*/model.safetensors")
        server.kill()  # it can clean up nothing itself
        server.wait(30)
        end = time.monotonic() + 30
        while unpacked.parent.exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not unpacked.parent.exists()
