"""When, where, with what and by which command a figure was printed: what every table of figures begins with."""

from __future__ import annotations

import datetime
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from gen_rerank.system.machine import Machine, versions

PACKAGES = ("torch", "vllm", "transformers", "sentence-transformers", "compressed-tensors")


@dataclass(frozen=True)
class ThisRun:
    """The run of a script.

    Attributes:
        date: of its start.
        machine: in words.
        versions: of Python and the libraries that figures depend on.
        load: how busy the machine was before: processes that ran or waited, on average over a minute.
        command: as it was typed.
    """

    date: str
    machine: str
    versions: str
    load: str
    command: str

    @classmethod
    def now(cls, packages: Sequence[str] = PACKAGES) -> ThisRun:
        """Return this process's run; call it before the machine is made busy."""
        return cls(
            date=datetime.date.today().isoformat(),
            machine=str(Machine.here()),
            versions=versions(packages),
            load=f"{os.getloadavg()[0]:.2f}",
            command=shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        )

    def line(self) -> str:
        """Return command, date and machine on one line, in Markdown."""
        return f"`{self.command}`, {self.date}, {self.machine}"

    def heading(self) -> str:
        """Return all of it as the first lines of a document, in Markdown."""
        about = f"{self.date}, {self.machine}; {self.versions}. Load before: {self.load}. Command:"
        return f"{about}\n\n    {self.command}"
