"""What ran, and on what: the processor, cores, memory and GPU, the versions of libraries, the commit of the source.

Figures mean little without them, so every report, card and benchmark states them in these words.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GIB = 2**30
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """A computer, as far as figures depend on it.

    Attributes:
        processor: its name.
        cores: that this process may use.
        memory_gib: of the whole computer.
        gpus: their names; empty without torch, or where it sees none.
    """

    processor: str
    cores: int
    memory_gib: float
    gpus: tuple[str, ...]

    @classmethod
    def here(cls) -> Machine:
        """Return the machine that this process runs on; torch is asked for GPUs.

        Example:
            >>> str(Machine.here())  # doctest: +SKIP
            'AMD EPYC, 2 cores, 24 GiB, no GPU'
        """
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
        return cls(_processor(), len(os.sched_getaffinity(0)), memory, _gpus())

    def __str__(self) -> str:
        """Return all of it on one line."""
        gpus = self.gpus or ("no GPU",)
        return ", ".join((self.processor, f"{self.cores} cores", f"{self.memory_gib:.0f} GiB", *gpus))


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


def _gpus() -> tuple[str, ...]:
    try:
        import torch
    except ModuleNotFoundError:
        return ()
    return tuple(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
