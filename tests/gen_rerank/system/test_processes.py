"""Child processes leave nothing behind, however they and their parents end."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gen_rerank.system.processes import run_group, script_runs_once, start_group, stop_group

_HOLDER = """
import sys, time
import os
from gen_rerank.system.processes import scratch_folder
from gen_rerank.system.publishing import folder_appearing
with scratch_folder() as folder:
    (folder / "weights").write_text("packed")
    with folder_appearing(folder, lambda _: None) as half:
        (half / "weights").write_text("half of it")
        print(folder, flush=True)
        if sys.argv[1] == "at once":
            os._exit(1)
        time.sleep(60)
"""


@pytest.mark.parametrize("way", ["at once", "SIGTERM", "SIGKILL"])
def test_a_scratch_folder_goes_however_its_process_ends(way: str) -> None:
    command = [sys.executable, "-c", _HOLDER, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip())
        if way != "at once":
            os.killpg(holder.pid, signal.Signals[way])
    assert holder.returncode != 0
    end = time.monotonic() + 30
    while _left(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _left(folder)


def _left(folder: Path) -> list[Path]:
    """Return what is there of a folder and of what would have become it."""
    return list(folder.parent.glob(f"*{folder.name}*"))


_FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_group_is_stopped_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = start_group([sys.executable, "-c", _FAMILY], output)
    end = time.monotonic() + 30
    while not log.read_text().strip() and time.monotonic() < end:
        time.sleep(0.05)
    grandchild = int(log.read_text())
    stop_group(process, 10)
    assert process.returncode == -signal.SIGTERM
    while psutil.pid_exists(grandchild) and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(grandchild)


_PARENT = """
import sys, time
from pathlib import Path
from gen_rerank.system.processes import start_group
child = "from gen_rerank.system.processes import end_with_parent; end_with_parent(); import time; time.sleep(60)"
with Path(sys.argv[1]).open("wb") as output:
    print(start_group([sys.executable, "-c", child], output, held=True).pid, flush=True)
time.sleep(1)
"""


def test_a_held_child_ends_with_its_parent(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PARENT, tmp_path / "log"], capture_output=True, text=True, check=True)
    child, end = int(done.stdout), time.monotonic() + 30
    while psutil.pid_exists(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(child)


_RUNNER = """
import sys
from gen_rerank.system.processes import run_group, signals_unwind
with signals_unwind():
    run_group([sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_what_was_started(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _RUNNER, _FAMILY]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True) as runner:
        assert runner.stdout is not None
        grandchild = int(runner.stdout.readline())
        (child,) = psutil.Process(runner.pid).children()
        runner.send_signal(number)
        runner.wait(60)
    assert runner.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert not child.is_running()
    assert not _runs(grandchild)


def test_the_exit_code_of_a_group_is_its_own() -> None:
    assert run_group([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_a_script_that_is_not_run_again_has_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torch asks `inspect` where code stands while vLLM is imported; a main module whose file is None ended that."""
    script, spec = sys.modules["__main__"], object()
    monkeypatch.setattr(script, "__file__", str(tmp_path / "script.py"), raising=False)
    monkeypatch.setattr(script, "__spec__", spec)
    frame = eval(compile("sys._getframe()", "/nowhere.py", "eval"), {"sys": sys})
    assert inspect.getmodule(frame) is None  # and `inspect` now knows the file of the main module
    with script_runs_once():
        assert (getattr(script, "__file__", "none"), script.__spec__) == ("none", None)
        assert inspect.getmodule(frame) is None
    assert (script.__file__, script.__spec__) == (str(tmp_path / "script.py"), spec)


def _runs(number: int) -> bool:
    """Return whether a process runs; one that has ended may be waited for by nobody here."""
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE
