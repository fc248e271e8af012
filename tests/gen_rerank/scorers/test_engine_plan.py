"""The settings that the engine gets of a machine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gen_rerank import BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.engine_plan import EngineChoices, plan, prepare_environment, token_bytes

pytest.importorskip("vllm")


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(autouse=True)
def no_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what `plan` sets is taken back.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND")


def test_a_small_model_is_not_compiled_and_its_cache_is_bounded(checkpoint: Checkpoint) -> None:
    arguments = plan(checkpoint, EngineChoices()).arguments()
    assert arguments["enforce_eager"] is True
    assert arguments["block_size"] == 32
    # 2 layers x (key, value) x 2 heads x 32 x 2 bytes
    assert arguments["kv_cache_memory_bytes"] == 2 * 2 * 2 * 32 * 2 * 2**18
    assert arguments["max_num_batched_tokens"] == 2048
    assert arguments["max_num_seqs"] == 256


def test_few_cores_all_compute(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3})
    assert plan(checkpoint, EngineChoices()).threads.value == "2"
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "3,5"


def test_many_cores_are_left_to_vllm(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert plan(checkpoint, EngineChoices()).threads.value == "left to vLLM"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in os.environ


def test_the_environment_is_respected(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "1")
    assert plan(checkpoint, EngineChoices()).threads.value == "on cores 1"


@pytest.mark.parametrize(("characters", "sockets"), [(70, None), (71, "/tmp")])
def test_sockets_have_short_names(characters: int, sockets: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a long TMPDIR the engine's processes could not talk to each other: a socket's name has 107 characters."""
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * (characters - 1))
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", "")  # set first, so that what is set below is taken back
    monkeypatch.delenv("VLLM_RPC_BASE_PATH")
    prepare_environment()
    assert os.environ.get("VLLM_RPC_BASE_PATH") == sockets


def test_what_a_person_chose_wins(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    chosen = EngineChoices(
        threads=1, cache_gib=0.5, block_size=64, batch_tokens=512, batch_prompts=8, compiled=True, dtype="float32"
    )
    planned = plan(checkpoint, chosen)
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "0"
    assert {setting.reason for _, setting in planned.lines()} == {"as asked"}
    assert planned.arguments() == {
        "kv_cache_memory_bytes": 2**29,
        "block_size": 64,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 512,
        "enforce_eager": False,
    }


def test_a_float32_token_takes_twice_the_memory(checkpoint: Checkpoint) -> None:
    half, full = (plan(checkpoint, EngineChoices(dtype=dtype)).arguments() for dtype in ("bfloat16", "float32"))
    assert full["kv_cache_memory_bytes"] == 2 * half["kv_cache_memory_bytes"]


def test_a_large_decoder_is_compiled(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(2**28)  # sparse
    planned = plan(replace(checkpoint, folder=tmp_path), EngineChoices())
    assert planned.compilation.value == "on"
    assert planned.arguments()["enforce_eager"] is False


def test_the_longest_prompt_fits_in_a_batch(checkpoint: Checkpoint) -> None:
    spec = checkpoint.card.prompt.model_copy(update={"max_length": 4096})
    long = replace(checkpoint, card=checkpoint.card.model_copy(update={"prompt": spec}))
    assert plan(long, EngineChoices()).arguments()["max_num_batched_tokens"] == 4096
    with pytest.raises(BadInput, match="--batch-tokens 2048: the longest prompt has 4096 tokens"):
        plan(long, EngineChoices(batch_tokens=2048))


def test_the_next_engine_takes_its_share_of_what_is_left(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a 0.6B shape, whose cache for 262,144 tokens, 28 GiB, fits into no small machine."""
    shape = {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    large = replace(checkpoint, config=checkpoint.config | shape)
    now = psutil.virtual_memory()
    weights = sum(file.stat().st_size for file in checkpoint.folder.glob("*.safetensors"))
    shares = []
    for taken in (0, 4 * 2**30):
        available = 10 * 2**30 + 2 * weights - taken
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=available: now._replace(available=free))
        shares.append(plan(large, EngineChoices()).arguments()["kv_cache_memory_bytes"])
    assert shares == [4 * 2**30, int(0.4 * 6 * 2**30)]


@pytest.mark.parametrize("threads", [0, -1, 3])
def test_more_threads_than_cores_are_refused(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(BadInput, match=f"--threads {threads}: this process may use 1 to 2 cores"):
        plan(checkpoint, EngineChoices(threads=threads))


@pytest.mark.parametrize("gib", [0.0, -1.0, psutil.virtual_memory().total / 2**30 + 1])
def test_a_cache_larger_than_the_memory_is_refused(checkpoint: Checkpoint, gib: float) -> None:
    with pytest.raises(BadInput, match="--cache-gib"):
        plan(checkpoint, EngineChoices(cache_gib=gib))


@pytest.mark.parametrize("heads", [0, -1, None])
def test_a_configuration_without_heads_is_one_sentence(heads: int | None, tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    checkpoint.config["num_attention_heads"] = heads
    with pytest.raises(BadInput, match=r"config\.json does not say how many there are: num_attention_heads"):
        token_bytes(checkpoint)
