"""What ran, and on what, in words."""

from __future__ import annotations

import os
import platform

import pytest

from gen_rerank.system.machine import Gpu, Machine, installed_version, source_commit, versions


def test_source_commit():
    commit = source_commit()
    assert commit is None or len(commit) >= 12


def test_the_machine_is_described_on_one_line() -> None:
    words = str(Machine.here())
    assert f"{len(os.sched_getaffinity(0))} cores" in words
    assert words.endswith("no GPU") or "GPU" not in words
    assert "\n" not in words


def test_a_machine_is_what_figures_depend_on() -> None:
    machine = Machine.here()
    assert machine.processor
    assert machine.memory_gib > 0.5
    assert machine.disk_free_gib > 0
    assert machine.instruction_sets.keys() <= {
        "AVX2", "AVX512", "AVX512-VNNI", "AVX512-BF16", "AMX-BF16", "AMX-INT8"
    }  # fmt: skip


def test_gpus_are_listed_by_name() -> None:
    hopper, blackwell = Gpu("NVIDIA H200", "9.0", 139.8), Gpu("NVIDIA B200", "10.0", 178.4)
    machine = Machine("AMD EPYC", 16, {}, 128.0, 64.0, (hopper, blackwell))
    assert str(machine) == "AMD EPYC, 16 cores, 128 GiB, NVIDIA H200, NVIDIA B200"


def test_versions_say_what_is_absent() -> None:
    assert versions(["numpy", "no-such-package"]).startswith(f"Python {platform.python_version()}, numpy ")
    assert versions(["no-such-package"]).endswith("no-such-package absent")
    assert installed_version("vllm") is not None  # by the name of its build for CPUs


def test_the_cores_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert ", 1 cores, " in str(Machine.here())


def machine(instructions: tuple[str, ...] = (), *capabilities: str) -> Machine:
    sets = dict.fromkeys(("AVX2", "AVX512-BF16", "AMX-BF16"), False) | dict.fromkeys(instructions, True)
    return Machine("a processor", 2, sets, 24.0, 64.0, tuple(Gpu("a GPU", each, 16.0) for each in capabilities))


@pytest.mark.parametrize(
    ("has", "there"),
    [
        (machine(("AVX2",)), False),
        (machine(("AVX512-BF16",)), True),
        (machine(("AMX-BF16",)), True),
        (machine((), "7.5"), False),
        (machine(("AMX-BF16",), "7.5"), False),  # the GPU computes
        (machine((), "8.0", "10.0"), True),
        (Machine("without torch", 2, {}, 1.0, 1.0, ()), False),
    ],
)
def test_bfloat16_is_there_where_the_hardware_multiplies_it(has: Machine, there: bool) -> None:
    assert has.computes_bfloat16 is there
