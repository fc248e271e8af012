"""What ran, and on what: the processor, cores, memory and GPUs, the versions of libraries, the commit of the source.

Figures mean little without them, so every report, card and benchmark states them in these words. What a machine of this
kind can train, quantize or serve is for others to say.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GIB = 2**30
_CPUINFO = Path("/proc/cpuinfo")


# By torch's names, those that decide which low-precision products are fast.
_INSTRUCTION_SETS = {
    "avx2": "AVX2", "avx512_f": "AVX512", "avx512_vnni": "AVX512-VNNI", "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16", "amx_int8": "AMX-INT8",
}  # fmt: skip


# What multiplies bfloat16 in hardware: these instructions of a CPU, and GPUs from Ampere on. Elsewhere it is emulated,
# many times slower than float32.
_BFLOAT16_INSTRUCTIONS = ("AVX512-BF16", "AMX-BF16")
_BFLOAT16_CAPABILITY = 8.0
# The same instructions as the system calls them.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as its driver says it.
        capability: its compute capability; 9.0 is Hopper, 10.0 Blackwell.
        memory_gib: of its own.
    """

    name: str
    capability: str
    memory_gib: float


@dataclass(frozen=True)
class Machine:
    """A computer, as far as figures and what it can run depend on it.

    Attributes:
        processor: its name.
        cores: that this process may use.
        instruction_sets: whether the processor has each of those that matter here; empty without torch.
        memory_gib: of the whole computer.
        disk_free_gib: where this process works.
        gpus: empty without torch, or where it sees none.
    """

    processor: str
    cores: int
    instruction_sets: dict[str, bool]
    memory_gib: float
    disk_free_gib: float
    gpus: tuple[Gpu, ...]

    @classmethod
    def here(cls) -> Machine:
        """Return the machine that this process runs on; torch is asked for instruction sets and GPUs.

        Example:
            >>> str(Machine.here())  # doctest: +SKIP
            'AMD EPYC, 2 cores, 24 GiB, no GPU'
        """
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            instruction_sets=_instruction_sets(),
            memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB,
            disk_free_gib=shutil.disk_usage(Path.cwd()).free / _GIB,
            gpus=_gpus(),
        )

    @property
    def computes_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware, on its GPUs or else on its CPU; elsewhere float32 is faster.

        Example:
            >>> Machine("AMD EPYC", 16, {"AVX512-BF16": True}, 128.0, 64.0, ()).computes_bfloat16
            True
        """
        if self.gpus:
            return all(float(gpu.capability) >= _BFLOAT16_CAPABILITY for gpu in self.gpus)
        return any(self.instruction_sets.get(name, False) for name in _BFLOAT16_INSTRUCTIONS)

    def __str__(self) -> str:
        """Return all of it on one line."""
        gpus = [gpu.name for gpu in self.gpus] or ["no GPU"]
        return ", ".join((self.processor, f"{self.cores} cores", f"{self.memory_gib:.0f} GiB", *gpus))


def cpu_multiplies_bfloat16() -> bool:
    """Return whether the CPU does so in hardware; unlike `Machine.here` this asks the system, and loads no torch."""
    return not _BFLOAT16_FLAGS.isdisjoint(_cpu_flags())


def versions(packages: Iterable[str]) -> str:
    """Return Python's version and those of installed distributions, on one line.

    Example:
        >>> versions(["numpy"])  # doctest: +SKIP
        'Python 3.11.7, numpy 2.3.5'
    """
    found = ((name, installed_version(name)) for name in packages)
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {number or 'absent'}" for name, number in found)]
    )


def installed_version(package: str) -> str | None:
    """Return the version of a distribution, or of its build for CPUs; None where it is not installed."""
    for name in (package, f"{package}-cpu"):  # vLLM's has its own name
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    return None


def source_commit() -> str | None:
    """Return the commit of the source tree that runs, or None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


def _instruction_sets() -> dict[str, bool]:
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    found = torch.cpu.get_capabilities()
    return {label: bool(found[name]) for name, label in _INSTRUCTION_SETS.items() if name in found}


def _gpus() -> tuple[Gpu, ...]:
    try:
        import torch
    except ModuleNotFoundError:
        return ()
    found = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return tuple(Gpu(each.name, f"{each.major}.{each.minor}", each.total_memory / _GIB) for each in found)
