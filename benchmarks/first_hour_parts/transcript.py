"""Commands as a user types them, with what they printed: on the screen whole, in a document shortened."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from harness.steps import SCRIPTS
from harness.this_run import ThisRun

LINE = 120  # the longest of a document
WIDTH = 112  # of code, which stands four to the right
_PYTHON = "python"
_PROGRAM = "gen-rerank"


@dataclass(frozen=True)
class Said:
    """A command and what it printed.

    Attributes:
        command: as it was typed.
        lines: of both its outputs.
        code: its exit code.
    """

    command: str
    lines: tuple[str, ...]
    code: int

    def shown(self, first: int | None = None, begin: str = "", until: str = "") -> list[str]:
        """Return the command and its lines as a document has them, and how many are left out before and after.

        Args:
            first: the most lines; None is all.
            begin: what stands in the first of them.
            until: what stands in the line behind the last of them, where there is one.

        Raises:
            BadInput: no line has `begin`.
        """
        start = self._place(begin, 0)
        if start is None and begin:
            raise BadInput(f"{self.command} printed no line with {begin!r}")
        start = start or 0
        lines = self.lines[start : self._place(until, start) if until else None][:first]
        after = len(self.lines) - start - len(lines)
        before = [f"… {counted(start, 'line')}"] if start else []
        more = [f"… and {after:,} more line{'s' * (after > 1)}"] if after else []
        shown = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in (*before, *lines, *more)]
        return [*typed_lines(self.command), *shown, *([f"exit code {self.code}"] if self.code else [])]

    def _place(self, words: str, start: int) -> int | None:
        """Return the number of the first line from `start` on that has some words."""
        return next((number for number in range(start, len(self.lines)) if words in self.lines[number]), None)


@dataclass
class Transcript:
    """A walk: chapters, commands, and what was checked.

    Attributes:
        console: on which all of it is printed.
        parts: of the document so far, in Markdown.
        broken: what was checked and did not hold.
    """

    console: Console
    parts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def chapter(self, title: str, words: str) -> None:
        """Begin a chapter.

        Args:
            title: of it.
            words: what it is about, one paragraph in Markdown.
        """
        self.console.rule(title)
        self.parts += [f"## {title}", words]

    def run(
        self,
        *words: str | Path,
        may_end: tuple[int, ...] = (0,),
        first: int | None = None,
        begin: str = "",
        until: str = "",
    ) -> Said:
        """Run a command and keep what it printed.

        Args:
            words: `gen-rerank` or a script's file name, and its arguments.
            may_end: exit codes that are results.
            first: how many lines of the output a document shows; all by default.
            begin: what stands in the first of them.
            until: what stands in the line behind the last of them.

        Raises:
            BadInput: it ended with another exit code, or no line has `begin`.
        """
        program, *arguments = map(str, words)
        ours = program == _PROGRAM
        typed = [program] if ours else [_PYTHON, str(SCRIPTS / program)]
        command = shlex.join([*typed, *arguments])
        self._say(f"$ {command}")
        said = Said(command, *_run(["-m", "gen_rerank"] if ours else typed[1:], arguments))
        self._say(*said.lines)
        if said.code not in may_end:
            last = said.lines[-1].removeprefix("error: ") if said.lines else "it said nothing"
            raise BadInput(f"{said.command} stopped with exit code {said.code}: {last}")
        self.parts.append("\n".join(f"    {line}".rstrip() for line in said.shown(first, begin, until)))
        return said

    def _say(self, *lines: str) -> None:
        for line in lines:
            self.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def check(self, what: str, *, holds: bool) -> None:
        """Note whether something is as it must be.

        Args:
            what: it is, as a sentence that begins in the middle: `the counts are those that were planted`.
            holds: whether it is so.
        """
        if not holds:
            self.broken.append(what)
        sentence = f"{'Checked' if holds else 'NOT SO'}: {what}."
        self.console.print(sentence, style="green" if holds else "red", highlight=False, soft_wrap=True)
        self.parts.append(sentence)

    def document(self, title: str, about: ThisRun, words: str) -> str:
        """Return all of it in Markdown, with the date and the machine.

        Args:
            title: of the document.
            about: the run.
            words: an introduction.
        """
        parts = "\n\n".join([f"# {title}", words, about.heading(), *self.parts]).split("\n\n")
        return "\n\n".join(part if part.startswith("    ") else wrapped(part) for part in parts) + "\n"


def typed_lines(command: str) -> list[str]:
    """Return a command as it is typed, on several lines where it is long.

    Example:
        >>> typed_lines("gen-rerank rank model 'oak desk'")
        ["$ gen-rerank rank model 'oak desk'"]
    """
    lines = ["$"]
    for word in map(shlex.quote, shlex.split(command)):
        if len(lines[-1]) + len(word) + len("  \\") > WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def wrapped(paragraph: str) -> str:
    """Return a paragraph, or a heading, in lines of a document's length."""
    return textwrap.fill(paragraph, LINE, break_long_words=False, break_on_hyphens=False)


def _run(program: list[str], arguments: list[str]) -> tuple[tuple[str, ...], int]:
    """Run Python; return the lines of both outputs together, without spaces at their ends, and the exit code."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": str(WIDTH), "PYTHONUTF8": "1"},
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return tuple(line.rstrip() for line in found.stdout.splitlines()), found.returncode
