"""What this machine can do, and how that is shown; vLLM's answers themselves are test_vllm_support's."""

from __future__ import annotations

import io
import json
import os

import pytest
import torch
from rich.console import Console

from gen_rerank.checkpoints.schemes import SCHEMES
from serve import doctor
from serve.doctor import Examination, examine, tables
from serve.vllm_support import Support

ANSWERS = [
    Support(scheme="bf16", served=True, seconds=0.1, relative_error=0.001, relative_speed=1.0),
    Support(scheme="int8", served=True, kernel="Int8Kernel", seconds=0.1, relative_error=0.01, relative_speed=1.5),
    Support(scheme="mxfp4", served=False, reason="no kernel for it"),
]


def test_the_examination_is_written_for_programs_and_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ask_vllm", lambda: ANSWERS)  # for real it takes long, and is test_vllm_support's
    found = examine()
    assert Examination.model_validate_json(found.to_json()) == found
    assert json.loads(found.to_json())["libraries"]["torch"] == torch.__version__
    assert found.machine.cores == len(os.sched_getaffinity(0))
    assert found.machine.memory_gib > 0.5
    assert all(ability.possible for ability in found.abilities)
    text = shown(found)
    for expected in ("quantize", "int8", "Int8Kernel", "1.50x", "no kernel for it", torch.__version__):
        assert expected in text


def test_each_scheme_says_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ask_vllm", lambda: ANSWERS)
    found = examine()
    text = shown(found, width=700)
    for scheme in SCHEMES:
        (row,) = [line for line in text.splitlines() if f" {scheme.name} " in line and scheme.explanation in line]
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells[-3:] == [scheme.cpu, scheme.hopper, scheme.blackwell]
    assert json.loads(found.to_json())["schemes"][0]["blackwell"] == "no kernel, use fp8"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda name: None if name in ("llmcompressor", "vllm") else "1.0")
    found = examine()
    by_work = {ability.work: ability for ability in found.abilities}
    assert by_work["quantize"].reason == "not installed: llmcompressor (the extra 'quant' brings it)"
    assert by_work["train an encoder"].possible
    assert {answer.reason for answer in found.answers} == {"vLLM is not installed"}
    assert [answer.scheme for answer in found.answers] == ["bf16", *(scheme.name for scheme in SCHEMES)]
    assert "llmcompressor (the extra 'quant' brings it)" in shown(found)


def shown(examination: Examination, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in tables(examination):
        console.print(table)
    return console.file.getvalue()
