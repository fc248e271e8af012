"""Steps of long work, each done once: what is finished is written down, and an interrupted run goes on from there.

What a step does, and how, is the caller's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import write_text_whole


@dataclass(frozen=True)
class Steps:
    """The finished steps of a run, in the order in which they were finished.

    Attributes:
        file: JSON, by each step's name its command, its seconds, and what else was recorded; absent before the first.

    Example:
        >>> steps = Steps(Path("runs/demo/steps.json"))  # doctest: +SKIP
        >>> if steps.kept("sample", "sample --seed 0") is None:  # doctest: +SKIP
        ...     write_sample(...)
        ...     steps.record("sample", "sample --seed 0", seconds=4.1)
    """

    file: Path

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return what was recorded of each step, by its name.

        Raises:
            BadInput: the file holds something else.
        """
        if not self.file.is_file():
            return {}
        try:
            found = json.loads(self.file.read_bytes())
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(map(_is_entry, found.values())):
            raise BadInput(f"{self.file}: does not say which steps are done; remove it, or choose another --out")
        return found

    def kept(self, name: str, command: str) -> dict[str, Any] | None:
        """Return what was recorded of a step; None where it was not finished.

        Args:
            name: of the step.
            command: what it is to do now, in words that are equal for equal work.

        Raises:
            BadInput: it was finished with another command.
        """
        entry = self.finished().get(name)
        if entry is not None and entry["command"] != command:
            raise BadInput(
                f"{self.file.parent} holds results of other settings ({self.file.name}, {name}); "
                "remove it or choose another --out"
            )
        return entry

    def record(self, name: str, command: str, seconds: float, **found: Any) -> None:
        """Write a finished step down, after those before it; one that was finished before is replaced."""
        entries = self.finished()
        entries.pop(name, None)
        entries[name] = {"command": command, "seconds": round(seconds, 1), **found}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(self.file, json.dumps(entries, indent=1) + "\n")


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("command"), str)
        and isinstance(entry.get("seconds"), int | float)
    )
