"""Ctrl-C ends a command with one line and the exit code 130, whenever it comes, and the line says what is kept.

A reader that goes away, as `head` does, ends it with 141 and no line at all.

What a block keeps, it says by `kept_when_interrupted`; the command line prints it. While modules are still being
imported, nobody is there to catch the interruption: there `early_interrupts` says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # what shells report of a process that SIGINT has ended
UNREAD = 141  # and of one that SIGPIPE has


@contextmanager
def kept_when_interrupted(sentence: str) -> Iterator[None]:
    """Note on an interruption of the block what is kept, or how to go on; the interruption itself passes.

    Example:
        >>> with kept_when_interrupted("shop is as it was"):  # doctest: +SKIP
        ...     import_feed(Path("feed.csv"), Path("shop"))
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(sentence)
        raise


def interruption_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interruption that an error is, or that it came from; None where there was none.

    Libraries turn one into errors of their own, typer into an exit code.

    Example:
        >>> try:
        ...     raise SystemExit(130) from KeyboardInterrupt()
        ... except SystemExit as error:
        ...     interruption_behind(error)
        KeyboardInterrupt()
    """
    return next((one for one in _chain(error) if isinstance(one, KeyboardInterrupt)), None)


def is_unread(error: BaseException) -> bool:
    """Return whether the end of a process came from a reader of its output that went away.

    rich and typer make an exit code of it, 1, which is a verdict here.

    Example:
        >>> is_unread(BrokenPipeError()), is_unread(SystemExit(1))
        (True, False)
    """
    ended = isinstance(error, (SystemExit, BrokenPipeError))
    return ended and any(isinstance(one, BrokenPipeError) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, the one that it came from, and so on."""
    met: list[BaseException] = []
    while error is not None and error not in met:
        yield error
        met.append(error)
        error = error.__cause__ or error.__context__


def interrupted_sentence(interrupt: KeyboardInterrupt) -> str:
    """Return what is said of an interruption: that it was one, and what is kept.

    Example:
        >>> interrupt = KeyboardInterrupt()
        >>> interrupt.add_note("shop is as it was")
        >>> interrupted_sentence(interrupt)
        'interrupted; shop is as it was'
    """
    return "; ".join(("interrupted", *vars(interrupt).get("__notes__", ())))
