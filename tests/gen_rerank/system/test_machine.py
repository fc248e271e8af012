"""What ran, and on what, in words."""

from __future__ import annotations

import os
import platform

import pytest

from gen_rerank.system.machine import Machine, installed_version, source_commit, versions


def test_source_commit():
    commit = source_commit()
    assert commit is None or len(commit) >= 12


def test_the_machine_is_described_on_one_line() -> None:
    words = str(Machine.here())
    assert f"{len(os.sched_getaffinity(0))} cores" in words
    assert words.endswith("no GPU") or "GPU" not in words
    assert "\n" not in words


def test_versions_say_what_is_absent() -> None:
    assert versions(["numpy", "no-such-package"]).startswith(f"Python {platform.python_version()}, numpy ")
    assert versions(["no-such-package"]).endswith("no-such-package absent")
    assert installed_version("vllm") is not None  # by the name of its build for CPUs


def test_the_cores_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert ", 1 cores, " in str(Machine.here())
