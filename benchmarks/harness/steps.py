"""The steps of a benchmark that takes long: each is a command that a user types, run once, in a process of its own.

What is done is kept, with its command and its seconds, so an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gen_rerank.errors import BadInput
from gen_rerank.system.steps import Steps

SCRIPTS = Path(os.path.relpath(Path(__file__).parents[1]))  # as short as a user types it
PROGRAMS = {
    "gen-rerank": ("-m", "gen_rerank"),
    "catalogs.py": (str(SCRIPTS / "catalogs.py"),),
    "real.py": (str(SCRIPTS / "real.py"),),
}


def never(code: int, sentence: str) -> bool:
    """Say that no exit code but 0 is a result."""
    return False


@dataclass(frozen=True)
class CommandSteps:
    """Commands that are run once; what is finished is kept in `folder/steps.json`.

    Attributes:
        folder: of their results.
        console: where each command is printed.
    """

    folder: Path
    console: Console

    @property
    def steps(self) -> Steps:
        """What is finished: of each step its command, its seconds and, where it ended in a refusal, the sentence."""
        return Steps(self.folder / "steps.json")

    def run(self, name: str, output: Path, *command: str | Path, may_stop: Callable[[int, str], bool] = never) -> None:
        """Run a command with `--out output`, unless it is finished.

        Args:
            name: of the step.
            output: what the command writes.
            command: `gen-rerank` or a script of the benchmarks, and its arguments.
            may_stop: says of an exit code and the sentence before it whether that is a result too.

        Raises:
            BadInput: the command stopped, or the step was done with another command before.
        """
        if output.is_dir() and self.steps.kept(name, _words(command, output)) is None:
            shutil.rmtree(output)  # left by a step that was killed before it was written down
        self._once(name, output, _words(command, output), may_stop)

    def add(self, name: str, output: Path, *command: str | Path) -> None:
        """Run a command that names `output` itself and adds to what is there, as imports do, unless it is finished.

        Raises:
            BadInput: as `run`.
        """
        self._once(name, output, shlex.join(map(str, command)), never)

    def read(self, name: str, output: Path, *command: str | Path) -> dict[str, Any]:
        """Run a command with `--out output --json`, unless it is finished, and return the JSON that it printed.

        Raises:
            BadInput: as `run`.
        """
        self.run(name, output, *command, "--json")
        printed: dict[str, Any] = json.loads(self.steps.finished()[name]["printed"])
        return printed

    def _once(self, name: str, output: Path, words: str, may_stop: Callable[[int, str], bool]) -> None:
        done = self.steps.kept(name, words)
        if done is not None and (output.exists() or done["refused"]):
            self.console.print(f"[dim]kept {output}[/dim]", soft_wrap=True)
            return
        self.console.print(f"[bold]$ {words}[/bold]", soft_wrap=True)
        start = time.perf_counter()
        code, sentence, printed = _run(words)
        seconds = time.perf_counter() - start
        if code and not may_stop(code, sentence):
            raise BadInput(f"the step {name} stopped with exit code {code}: {sentence}")
        self.steps.record(name, words, seconds, refused=sentence, **printed)


def _words(command: Sequence[str | Path], output: Path) -> str:
    return shlex.join([*map(str, command), "--out", str(output)])


def _run(words: str) -> tuple[int, str, dict[str, str]]:
    """Run a command.

    Returns:
        Its exit code; if it stopped, the last line of its standard error; what it printed, where that is JSON.
    """
    program, *arguments = shlex.split(words)
    command = [sys.executable, "-W", "ignore", *PROGRAMS[program], *arguments]
    out = subprocess.PIPE if "--json" in arguments else None  # else people see it
    found = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    last = "".join(found.stderr.strip().splitlines()[-1:]).removeprefix("error: ")
    return found.returncode, last if found.returncode else "", {} if found.stdout is None else {"printed": found.stdout}
