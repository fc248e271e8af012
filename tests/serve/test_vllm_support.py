"""vLLM's own answer, asked once for the whole file, in a process of its own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.system.machine import Machine
from quant.quantize import quantize
from serve.vllm_support import Support, ask_vllm, vllms_reason, why_not_served

pytest.importorskip("vllm")
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU vLLM has other kernels")
# vLLM 0.32 is compiled twice for CPUs: without AVX512 its int8 product is off by 12%, and four bits have no kernel.
AVX512 = Machine.here().instruction_sets["AVX512"]


@pytest.fixture(scope="module")
def answers() -> dict[str, Support]:
    """There is no preset of the last name: the process that is asked ends with an error."""
    return {
        answer.scheme: answer for answer in ask_vllm(["int8", "int8-smoothquant", "w4a16-gptq", "mxfp4", "nonsense"])
    }


@on_cpu
def test_int8_is_served_and_right(answers: dict[str, Support]) -> None:
    int8 = answers["int8"]
    assert int8.served, int8
    assert int8.kernel == "CPUInt8ScaledMMLinearKernel"
    # Activations are rounded to 8 bits, so the output is near the decoded weights' and not the same.
    assert 0.001 < int8.relative_error < (0.05 if AVX512 else 0.2)
    assert int8.relative_speed > 0
    assert answers["bf16"].served
    assert answers["bf16"].relative_error < 0.01


@on_cpu
def test_a_scheme_is_asked_about_as_quantize_spells_it(answers: dict[str, Support]) -> None:
    four_bits = answers["w4a16-gptq"]
    assert four_bits.served == AVX512
    if AVX512:
        assert four_bits.kernel == "CPUWNA16LinearKernel"
        assert four_bits.relative_error < 0.01
    else:
        assert "cpu_gemm_wna16" in four_bits.reason
    smooth = answers["int8-smoothquant"]
    assert smooth == answers["int8"].model_copy(update={"scheme": "int8-smoothquant"}), "one layer, measured once"


@on_cpu
def test_mxfp4_is_refused_in_vllms_words(answers: dict[str, Support]) -> None:
    mxfp4 = answers["mxfp4"]
    assert not mxfp4.served
    assert mxfp4.reason == "Failed to find a kernel that can implement the MXFP4 linear layer"
    assert mxfp4.relative_speed is None


def test_a_scheme_that_ends_the_process_is_not_served(answers: dict[str, Support]) -> None:
    assert list(answers) == ["bf16", "int8", "int8-smoothquant", "w4a16-gptq", "mxfp4", "nonsense"]
    assert not answers["nonsense"].served
    assert answers["nonsense"].reason == "vLLM ended: KeyError: 'nonsense'"


def test_where_vllm_does_not_start_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    found = ask_vllm(["int8"])
    assert [answer.scheme for answer in found] == ["bf16", "int8"]
    assert {answer.reason for answer in found} == {"vLLM does not start here: exit code 1"}


@on_cpu
@pytest.mark.parametrize("scheme", ["int8", "mxfp4"])
def test_a_checkpoint_gets_the_schemes_answer(
    answers: dict[str, Support], scheme: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = quantize(tiny_checkpoint, scheme, tmp_path / scheme)
    assert why_not_served(checkpoint) == answers[scheme].reason


def test_a_plain_checkpoint_is_not_asked_about(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    assert why_not_served(checkpoint) is None
    checkpoint.config["quantization_config"] = None
    assert why_not_served(checkpoint) is None


def test_a_reason_is_one_line() -> None:
    error = ValueError("Failed to find a kernel. Reasons: \nA needs AMX..\nB needs AMX.\nA needs AMX..\n")
    assert vllms_reason(error) == "Failed to find a kernel: A needs AMX; B needs AMX"
    assert vllms_reason(RuntimeError()) == "RuntimeError"
