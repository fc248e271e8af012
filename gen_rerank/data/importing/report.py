"""What an import did: rows read, kept, changed and refused, counted by kind, with examples of each.

Every reader fills one of these while it streams. Memory does not grow with the file: counts are exact, examples and
refused rows are the first ones. How it looks on a screen is `table`'s, what it is in JSON `to_json`'s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

_EXAMPLES = 3
_LISTED = 1000
_SHOWN = 80


@dataclass(frozen=True)
class Example:
    """One change: where it was made, and what it made of what."""

    place: str
    before: str
    after: str


@dataclass
class Change:
    """How often one kind of change was made, and the first three of them."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True)
class Refused:
    """One row that could not be used: file, line (from 1, as an editor counts) and reason."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return `file:line: reason`, as `BadRow` is written."""
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass
class ImportReport:
    """What became of a source.

    Attributes:
        source: what was read.
        format: as it was named or recognised.
        found: what was found out about the source, in the order of finding: encoding, delimiter, columns …
        read: rows that were read, by what they are: `products`, `queries`, `judgments`, `rows`.
        kept: records that were written, by what they are.
        changes: by kind, a few words such as `HTML removed`.
        refused: how many rows were refused, by the kind of reason.
        first_refused: the first 1,000 of them, with line and reason.
    """

    source: str
    format: str
    found: dict[str, str] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    first_refused: list[Refused] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count rows that were read."""
        self.read[what] = self.read.get(what, 0) + number

    def keep(self, what: str, number: int = 1) -> None:
        """Count records that were written."""
        self.kept[what] = self.kept.get(what, 0) + number

    def change(self, kind: str, place: str, before: object, after: object) -> None:
        """Note one change.

        Args:
            kind: a few words; changes are counted by them.
            place: such as `feed.csv:7 price`.
            before: the value as it was.
            after: the value as it is.
        """
        change = self.changes.setdefault(kind, Change())
        change.count += 1
        if len(change.examples) < _EXAMPLES:
            change.examples.append(Example(place, shortened(before), shortened(after)))

    def refuse(self, kind: str, file: str, line: int, reason: str) -> None:
        """Note one row that cannot be used.

        Args:
            kind: a few words; refusals are counted by them.
            file: where it stands.
            line: from 1.
            reason: what is wrong, with the value.
        """
        self.refused[kind] = self.refused.get(kind, 0) + 1
        if len(self.first_refused) < _LISTED:
            self.first_refused.append(Refused(file, line, reason))

    def to_json(self) -> dict[str, Any]:
        """Return all of it, for `--json` and `--report`."""
        return {
            "source": self.source,
            "format": self.format,
            "found": self.found,
            "read": self.read,
            "kept": self.kept,
            "changes": {
                kind: {"count": change.count, "examples": [vars(example) for example in change.examples]}
                for kind, change in self.changes.items()
            },
            "refused": self.refused,
            "first_refused": [vars(row) for row in self.first_refused],
        }

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """Return it for a screen: what was found, counts, changes with examples, refusals by kind."""
        table = Table(title=f"{self.source} ({self.format})", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        for name, value in self.found.items():
            table.add_row(name, "", value)
        table.add_section()
        for what, number in self.read.items():
            table.add_row(f"{what} read", f"{number:,}", "")
        for what, number in self.kept.items():
            table.add_row(f"{what} written", f"{number:,}", "")
        table.add_section()
        for kind, change in self.changes.items():
            shown = (f"{one.place}: {one.before} → {one.after}" for one in change.examples)
            table.add_row(kind, f"{change.count:,}", "\n".join(shown))
        table.add_section()
        for kind, number in self.refused.items():
            table.add_row(f"refused: {kind}", f"{number:,}", "")
        return table


def shortened(value: object) -> str:
    """Return a value as text of one short line.

    Example:
        >>> shortened("a\\nb")
        'a b'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
