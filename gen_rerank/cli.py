"""The command line: it mounts the commands that rooms offer, and turns what users can cause into one sentence.

A room that people command has a `commands.py` with a Typer app, named in `pyproject.toml` under the entry points
`gen_rerank.commands`. This module knows none of them. Bad input ends with exit code 2 and one sentence. So does a bug
of ours, with its traceback: exit code 1 is a verdict of `compare` or of gates. Ctrl-C ends with 130 and one line,
a reader that goes away with 141 and none.
"""

from __future__ import annotations

import gen_rerank.system.early_interrupts  # noqa: F401 (it acts when it is imported)

# isort: split
import errno
import sys
import traceback
from importlib.metadata import entry_points
from typing import Annotated

import typer

from gen_rerank import __version__
from gen_rerank.errors import BadInput, first_line
from gen_rerank.reporting.shell import console, filled, require_a_width, show_any_text, stop, stop_unread
from gen_rerank.system.interrupts import INTERRUPTED, interrupted_sentence, interruption_behind, is_unread
from gen_rerank.system.memory import is_out_of_memory
from gen_rerank.system.own_packages import hidden_package, prefer_own_packages
from gen_rerank.system.remarks import hide_missing_kernels

GROUP = "gen_rerank.commands"

# Where this module is imported, a process is the command line or was started by it.
prefer_own_packages()


def _version(wanted: bool) -> None:
    if wanted:
        console().print(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rerankers for product search that read relevance as a distribution over eleven bins."""


def mounted() -> typer.Typer:
    """Return the whole command line: what each room offers, in the order of the entry points' names.

    Raises:
        BadInput: the package is not installed, so that nothing names its commands.
    """
    app = typer.Typer(
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    offered = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if not offered:
        raise BadInput(
            "gen_rerank is not installed, so its commands are not known: run make install, or pip install -e ."
        )
    for entry in offered:
        app.add_typer(filled(entry.load()))
    return app


def _what_to_do(error: Exception) -> str | None:
    """Return the sentence for what users can cause; None for a bug of ours."""
    hidden = hidden_package(error)
    if hidden is not None:
        return (
            f"{hidden.file} hides the package {hidden.package!r}, which is needed here; rename it, or work in another "
            "folder"
        )
    if isinstance(error, BadInput):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name!r} is not installed; install the extra that this command needs (see README.md)"
    if isinstance(error, OSError):
        full = " (the disk is full)" if error.errno == errno.ENOSPC else ""
        return f"{error.filename or 'input/output'}: {error.strerror or error}{full}"
    if is_out_of_memory(error):
        return f"there is not enough memory ({first_line(error)}); take smaller batches, or a larger machine"
    return None


def main() -> None:
    """Run the command line; turn what users can cause into one sentence and an exit code."""
    show_any_text()
    require_a_width()
    hide_missing_kernels()
    try:
        try:
            mounted()()
        finally:
            sys.stdout.flush()  # a reader may have gone away before the last lines
    except BaseException as error:
        interrupt = interruption_behind(error)
        if interrupt is not None:
            stop(interrupted_sentence(interrupt), INTERRUPTED)
        if is_unread(error):
            stop_unread()
        if not isinstance(error, Exception):
            raise
        sentence = _what_to_do(error)
        if sentence is None:  # nobody's input: a bug, and whoever reports it needs the place
            traceback.print_exc()
            sentence = f"gen-rerank failed: {type(error).__name__}: {first_line(error)}; this is a bug"
        stop(sentence, 2)
