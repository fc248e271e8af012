"""What the allocator keeps and gives back, seen from outside: the resident memory of a process."""

import subprocess
import sys

import pytest

_MEASURED = """
import psutil
from gen_rerank.system.memory import give_back_freed_memory, keep_freed_memory

def resident():
    return psutil.Process().memory_info().rss / 2**20

keep_freed_memory()
blocks = [bytearray(2**20) for _ in range(300)]
held = resident()
del blocks
kept = resident()
give_back_freed_memory()
print(held, kept, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURED], capture_output=True, text=True, check=True)
    held, kept, given_back = map(float, done.stdout.split())
    assert kept > held - 50
    assert given_back < held - 250
