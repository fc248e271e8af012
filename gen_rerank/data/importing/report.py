"""What an import did: rows read, kept, changed and refused, counted by kind, with examples of each.

Every reader fills one of these while it streams. Memory does not grow with the file: counts are exact, examples and
refused rows are the first ones. How it looks on a screen is `table`'s, what it is in JSON `to_json`'s. Values are data:
nothing in them is taken for rich's markup, and what cannot be seen is written as its code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen_rerank.data.cleaning import mend
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.publishing import write_text_whole

_EXAMPLES = 3
_NOTHING = "(nothing)"
_LISTED = 1000
_NAMED_COLUMNS = 20
_SHOWN = 80
_SHOWN_NAME = 40
_READ = 4 * _SHOWN  # characters of a value that may be seen in its short form


@dataclass(frozen=True)
class Example:
    """One change: where it was made, and what it made of what."""

    place: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return `place: before → after`, where after may be `(nothing)`; what there is of it where before is empty."""
        change = f"{self.before} → {self.after or _NOTHING}" if self.before else self.after
        return f"{self.place}: {change}" if change else self.place


@dataclass
class Change:
    """How often one kind of change was made, and the first three of them."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def note(self, place: str, before: object, after: object) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(Example(shortened(place), shortened(before), shortened(after)))

    def to_json(self) -> dict[str, Any]:
        """Return the count and the examples."""
        return {"count": self.count, "examples": [vars(example) for example in self.examples]}


@dataclass(frozen=True)
class Refused:
    """One row that could not be used: file, line (from 1, as an editor counts), reason, and the kind of reason."""

    file: str
    line: int
    reason: str
    kind: str = ""

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
        left_open: blanks of the source, by what became of them, in words.
        kept: records that were written, by what they are.
        changes: by kind, a few words such as `HTML removed`; of rows that were kept.
        compared: what was `added`, `changed` and `gone` since the records that lay there before; empty where none did.
        refused: how many rows were refused, by the kind of reason.
        first_refused: the first 1,000 of them, with line and reason.
    """

    source: str
    format: str
    found: dict[str, str] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    left_open: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    compared: dict[str, Change] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    first_refused: list[Refused] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count rows that were read."""
        self.read[what] = self.read.get(what, 0) + number

    def leave_open(self, what: str, number: int = 1) -> None:
        """Count blanks of the source.

        Args:
            what: was left blank, and what became of it; a screen shows it as it is.
            number: how many.
        """
        self.left_open[what] = self.left_open.get(what, 0) + number

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
        self.changes.setdefault(kind, Change()).note(place, before, after)

    def compare(self, kind: str, place: str, before: object = "", after: object = "") -> None:
        """Note one difference to what lay there before.

        Args:
            kind: `added`, `changed` or `gone`.
            place: the id, and the field that changed.
            before: the value as it was.
            after: the value as it is.
        """
        self.compared.setdefault(kind, Change()).note(place, before, after)

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
            self.first_refused.append(Refused(file, line, reason, kind))

    def to_json(self) -> dict[str, Any]:
        """Return all of it, for `--json` and `--report`."""
        return {
            "source": self.source,
            "format": self.format,
            "found": self.found,
            "read": self.read,
            "left_open": self.left_open,
            "kept": self.kept,
            "changes": {kind: change.to_json() for kind, change in self.changes.items()},
            "compared": {kind: change.to_json() for kind, change in self.compared.items()},
            "refused": self.refused,
            "first_refused": [vars(row) for row in self.first_refused],
        }

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_text_whole(path, mend(json.dumps(self.to_json(), indent=1, ensure_ascii=False)) + "\n")

    def table(self) -> TextTable:
        """Return it for a screen: what was found, counts, changes with examples, refusals by kind."""
        title = shortened(f"{self.source} ({self.format})")
        table = TextTable(title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column()
        for name, value in self.found.items():
            table.add_row(name, "", visible_codes(value))
        table.add_section()
        for what, number in self.read.items():
            table.add_row(f"{what} read", f"{number:,}", "")
        for what, number in self.left_open.items():
            table.add_row(what, f"{number:,}", "")
        for what, number in self.kept.items():
            table.add_row(f"{what} written", f"{number:,}", "")
        for named in (self.changes, self.compared):
            table.add_section()
            for kind, change in named.items():
                table.add_row(kind, f"{change.count:,}", "\n".join(map(str, change.examples)))
        table.add_section()
        for kind, number in self.refused.items():
            first = next((row for row in self.first_refused if row.kind == kind), None)
            table.add_row(f"refused: {kind}", f"{number:,}", visible_codes(str(first or "")))
        return table


def times_listed(columns: Counter[str]) -> str:
    """Return names of columns with the number of rows that have each, the first twenty.

    Example:
        >>> times_listed(Counter({"color": 2, "size": 1}))
        'color (in 2 rows), size (in 1 row)'
    """
    most = columns.most_common(_NAMED_COLUMNS)
    listed = [f"{shown_name(name)} (in {counted(times, 'row')})" for name, times in most]
    return _with_rest(listed, len(columns))


def names_listed(names: Iterable[str]) -> str:
    """Return names of columns, the first twenty, shortened; and how many there are beside them.

    Example:
        >>> names_listed(["title", "", "b" * 50])
        'title, (without a name), bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…'
    """
    there = list(names)
    return _with_rest([shown_name(name) for name in there[:_NAMED_COLUMNS]], len(there))


def columns_said(columns: Mapping[str, str]) -> str:
    """Return which column was taken for what, the first twenty.

    Args:
        columns: by what they are.

    Example:
        >>> columns_said({"title": "Name"})
        'title ← Name'
    """
    listed = [f"{shown_name(what)} ← {shown_name(name)}" for what, name in list(columns.items())[:_NAMED_COLUMNS]]
    return _with_rest(listed, len(columns))


def shown_name(name: str) -> str:
    """Return the name of a column as sentences and lists have it: short, and all of it visible."""
    return shortened(name, _SHOWN_NAME) or "(without a name)"


def _with_rest(listed: list[str], number: int) -> str:
    return ", ".join(listed) + (f" and {number - len(listed):,} more" if number > len(listed) else "")


def shortened(value: object, most: int = _SHOWN) -> str:
    r"""Return a value as text of one short line of so many characters at most, in which everything can be seen.

    Example:
        >>> shortened("Lap\u00adtop\nsleeve")
        'Lap\\xadtop sleeve'
    """
    written = str(value)[:_READ]
    text = visible_codes(" ".join(written.split()))
    return text if len(text) <= most else text[: most - 1] + "…"


def visible_codes(text: str) -> str:
    r"""Return a text with the codes of what has no sign: invisible characters, a terminal's orders, half characters.

    Example:
        >>> visible_codes("red\x1b[31m")
        'red\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
