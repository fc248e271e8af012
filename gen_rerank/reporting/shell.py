"""What the commands of all rooms share: the console, how a line and an error are printed, and the arguments that recur.

A room's `commands.py` parses, calls one function of its room and prints what came back. `gen_rerank.cli` mounts them.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol, cast

import typer
from rich.console import Console
from typer.core import TyperCommand

from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import one_line
from gen_rerank.reporting.whole_json import whole_json
from gen_rerank.system.interrupts import UNREAD

# Piped output has no width of its own; tables need more than the 80 columns that would be assumed.
_PIPED_WIDTH = 130


class FilledCommand(TyperCommand):
    """A command that refuses empty values: that of a variable which is not set would mean the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line.

        Raises:
            BadInput: an argument or an option is empty, or one word is there for two arguments.
        """
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        values = {parameter: given.get(parameter.name or "") for parameter in self.params}
        for parameter, value in values.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(one, str) and not one.strip():
                    raise BadInput(f"{_called(parameter)} is empty; give it a value (is a variable not set?)")
        arguments = {each: value for each, value in values.items() if not each.opts[0].startswith("-")}
        several = [each for each, value in arguments.items() if each.nargs == -1 and each.required and not value]
        alone = [str(value) for value in arguments.values() if value]
        if several and alone:
            needed = " and ".join(map(_called, arguments))
            raise BadInput(f"{needed} are needed, in this order; there is only {' '.join(alone)}")
        return super().parse_args(ctx, args)


def _called(parameter: Any) -> str:
    """Return what people call a parameter: `--out`, or `DATA`."""
    first: str = parameter.opts[0]
    return first if first.startswith("-") else parameter.metavar or first.upper()


def filled(app: typer.Typer) -> typer.Typer:
    """Let all commands of an app, and of those in it, refuse empty values."""
    for command in app.registered_commands:
        command.cls = FilledCommand
    for group in app.registered_groups:
        filled(cast(typer.Typer, group.typer_instance))
    return app


def _named_place(parameter: typer.CallbackParam, value: Any) -> Path | None:
    """Return a path; documents name the folder in which they lie, so its name must be text."""
    if value is not None and str(value).encode(errors="replace").decode() != str(value):
        raise BadInput(f"{parameter.opts[0]} {value}: the name is no text in UTF-8; choose another")
    return None if value is None else Path(value)


def written(option: str, description: str, **more: Any) -> Any:
    """Return an option that names what a command writes, for an annotation with `Path`.

    Example:
        >>> written("--out", "Write the evaluation as JSON.").metavar
        'PATH'
    """
    return typer.Option(option, help=description, parser=str, callback=_named_place, metavar="PATH", **more)


Model = Annotated[str, typer.Argument(help="A checkpoint folder or a hub name.", show_default=False)]
Data = Annotated[Path, typer.Argument(help="A folder with products, queries and judgments.", show_default=False)]
DataOption = Annotated[
    Path, typer.Option("--data", help="A folder with products, queries and judgments.", show_default=False)
]
Out = Annotated[Path, written("--out", "Where the result goes.", show_default=False)]
Config = Annotated[
    str,
    typer.Option("--config", help="A preset (nano, small, 0.6b, 1.3b, rexreranker-0.6b) or a YAML file of your own."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last saved state.")]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]
BackendName = Annotated[str, typer.Option("--backend", help="transformers, vllm, or openvino for encoders on a CPU.")]
DtypeName = Annotated[
    str, typer.Option("--dtype", help="auto, float32 or bfloat16; auto is bfloat16 where this machine multiplies it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on the standard output, and nothing else there.")]
AdapterName = Annotated[
    str | None, typer.Option("--adapter", help="A LoRA adapter of the model: a folder or a hub name.")
]
MinTier = Annotated[str | None, typer.Option("--min-tier", help="Leave out products below this tier: exact or close.")]
Confidence = Annotated[
    bool, typer.Option("--confidence", help="Say how likely the first product is the best of those shown.")
]
RuleFile = Annotated[
    Path | None, typer.Option("--rules", help="A YAML file with the rules of the shop (docs/search.md).")
]
Market = Annotated[str | None, typer.Option("--market", help="The market of the search, for the rules.")]
Products = Annotated[int, typer.Option("--products", min=1, help="How many products the sample shop has.")]
Queries = Annotated[int, typer.Option("--queries", min=1, help="How many queries the sample shop has.")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave bad rows out, and count them.")]


def show_any_text() -> None:
    """Let the console show a question mark for a character that it does not have, instead of ending the command.

    A console may be latin-1 or ASCII, and a file's name may be no text at all.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def require_a_width() -> None:
    """Forget a COLUMNS that is no width, such as 0: rich would print nothing at all, or fail.

    Every console of the process and of its children takes it from the environment, typer's too.
    """
    if not re.fullmatch("0*[1-9][0-9]*", os.environ.get("COLUMNS", "")):
        os.environ.pop("COLUMNS", None)


@cache
def console() -> Console:
    """Return the console on which results are printed; one for the whole process.

    Its width is the terminal's, or what COLUMNS says. What it prints is text: names of folders and tags may look like
    rich's markup.
    """
    require_a_width()
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else _PIPED_WIDTH, markup=False, emoji=False)


def error_console() -> Console:
    """Return the console for what must not stand in a result; it folds nothing, whatever COLUMNS says."""
    require_a_width()
    return Console(stderr=True, width=_PIPED_WIDTH, soft_wrap=True, markup=False, emoji=False)


def say(line: str, where: Console | None = None) -> None:
    """Print one line as it is: no markup, no colours, not folded; on the standard output unless a console is given."""
    (where or console()).print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """Print a result for programs on the standard output; in ASCII, which every console has."""
    sys.stdout.write(whole_json(value) + "\n")


def list_left_out(where: Console, bad_rows: Sequence[object]) -> None:
    """List the rows that were left out, and count them.

    Args:
        where: they are printed.
        bad_rows: each is written as `file:line: reason`.
    """
    for row in bad_rows:
        say(f"left out {one_line(str(row))}", where)
    if bad_rows:
        where.print(f"{counted(len(bad_rows), 'bad row')} left out")


class ShownReport(Protocol):
    """What a command has found, for people and for programs."""

    @property
    def bad_rows(self) -> Sequence[object]:
        """The rows of the data that were left out."""

    def to_json(self) -> Any:
        """Return all of it for programs."""

    def shown(self) -> Iterable[Any]:
        """Return lines and tables for people, in order."""


def show_report(report: ShownReport, *, as_json: bool) -> None:
    """Print a report on the standard output: its lines and tables, or JSON alone.

    What was left out of the data is listed first; beside JSON, on the standard error.
    """
    list_left_out(error_console() if as_json else console(), report.bad_rows)
    if as_json:
        say_json(report.to_json())
        return
    for part in report.shown():
        if isinstance(part, str):
            say(part)
        else:
            console().print(part)


def stop(sentence: str, code: int) -> NoReturn:
    """Print one sentence on the standard error and end the process with an exit code."""
    say(f"error: {one_line(sentence)}", error_console())
    sys.exit(code)


def stop_unread() -> NoReturn:
    """End the process as SIGPIPE would: whoever read its output has gone away, so nothing more is printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # what is still to be flushed
    sys.exit(UNREAD)
