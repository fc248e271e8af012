"""What the C library's allocator keeps of freed memory, and when it gives it back: worth a lot on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# Larger than an activation, so that it is not mapped by itself; never give back; ask for much at once.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = 32 << 20, 2**31 - 1, 256 << 20


def keep_freed_memory() -> None:
    """Let the allocator keep what tensors free instead of giving it back to the system.

    Activations of some MiB are otherwise mapped anew, page by page, in every step: benchmarks/bench_training.py prints
    what it is worth. Affects this process only; does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(AttributeError):  # musl has none
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        mallopt(_M_TOP_PAD, _TOP_PAD)


def give_back_freed_memory() -> None:
    """Give what the allocator has kept so far back to the system.

    After loading, that is the copies that weights were made from.

    Affects this process only; does nothing where the C library is not glibc.
    """
    if sys.platform.startswith("linux"):
        with suppress(AttributeError):  # musl has none
            ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory was asked for that is not there.

    On a CPU torch has no error of its own for it, so that it is known by its text; on a GPU by its name, because torch
    need not be installed.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
        True
    """
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def children_keep_freed_memory() -> None:
    """Let processes that are started from now on keep freed memory, where the caller has not set it.

    vLLM computes in a process of its own.
    """
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(_MMAP_THRESHOLD))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(_TRIM_THRESHOLD))
    os.environ.setdefault("MALLOC_TOP_PAD_", str(_TOP_PAD))
