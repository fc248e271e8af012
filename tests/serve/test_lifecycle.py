"""The end of a process, and of all that it has started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A child starts a grandchild, again and again, that complains about a parent's end as Python's spawned processes do.
_GRANDCHILD = "import sys; sys.stdin.read(); sys.stderr.write('EOFError: Ran out of input\\n')"
_CHILD = f"""
import subprocess, sys
while True:
    started = [subprocess.Popen([sys.executable, "-S", "-c", {_GRANDCHILD!r}], stdin=subprocess.PIPE) for _ in range(8)]
    print("started", flush=True)
"""
_PROCESS = f"""
import subprocess, sys
from serve.lifecycle import end_now
child = subprocess.Popen([sys.executable, "-c", {_CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
end_now("interrupted", code=3)
"""


def test_nothing_is_said_after_the_sentence_that_ends_a_process(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("wb") as log:
        ended = subprocess.run([sys.executable, "-c", _PROCESS], stderr=log, timeout=60)
    assert ended.returncode == 3
    assert said.read_text() == "error: interrupted\n"
