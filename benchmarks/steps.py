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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gen_rerank.errors import BadInput

HERE = Path(os.path.relpath(Path(__file__).parent))  # as short as a user types it
PROGRAMS = {"gen-rerank": ("-m", "gen_rerank"), "catalogs.py": (str(HERE / "catalogs.py"),)}


@dataclass(frozen=True)
class Steps:
    """Commands that are run once: what was done, and its time, is kept in `folder/steps.json`."""

    folder: Path
    console: Console

    def run(
        self, name: str, output: Path, *command: str | Path, may_stop: Callable[[int, str], bool] = lambda *_: False
    ) -> None:
        """Run a command with `--out output`, unless it is done.

        Args:
            name: of the step.
            output: what the command writes.
            command: `gen-rerank` or a script of this folder, and its arguments.
            may_stop: says of an exit code and the sentence before it whether that is a result too.

        Raises:
            BadInput: the command stopped, or the step was done with another command before.
        """
        words = shlex.join([*map(str, command), "--out", str(output)])
        done = self.done().get(name)
        if done is not None and done["command"] != words:
            raise BadInput(f"{self.folder} holds results of other settings; remove it or choose another --out")
        if done is not None and (output.exists() or done["refused"]):
            self.console.print(f"[dim]kept {output}[/dim]", soft_wrap=True)
            return
        self.console.print(f"[bold]$ {words}[/bold]", soft_wrap=True)
        if output.is_dir():  # left by a step that was killed before it was written down
            shutil.rmtree(output)
        program, *arguments = shlex.split(words)
        start = time.perf_counter()
        found = subprocess.run(
            [sys.executable, "-W", "ignore", *PROGRAMS[program], *arguments],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        sentence = "".join(found.stderr.strip().splitlines()[-1:]).removeprefix("error: ") if found.returncode else ""
        if found.returncode and not may_stop(found.returncode, sentence):
            raise BadInput(f"the step {name} stopped with exit code {found.returncode}: {sentence}")
        self.record(name, words, seconds, sentence)

    def record(self, name: str, command: str, seconds: float, refused: str = "") -> None:
        """Write down a step that is done."""
        entry = {"command": command, "seconds": round(seconds, 1), "refused": refused}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "steps.json").write_text(json.dumps({**self.done(), name: entry}, indent=1), encoding="utf-8")

    def done(self) -> dict[str, dict[str, Any]]:
        """Return each step's command, seconds and, where it ended in a refusal, the sentence."""
        file = self.folder / "steps.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
