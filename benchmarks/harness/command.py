"""How a script of this folder is run: its command line, and what becomes of bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import stop

BAD_INPUT = 2  # the exit code


def new_app() -> typer.Typer:
    """Return a command line without commands, for a script that has several."""
    return typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def run_app(app: typer.Typer) -> None:
    """Run a script's command line; bad input is one sentence and exit code 2."""
    try:
        app()
    except BadInput as error:
        stop(str(error), BAD_INPUT)


def run(main: Callable[..., Any]) -> None:
    """Run a script that has one command; bad input is one sentence and exit code 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)
