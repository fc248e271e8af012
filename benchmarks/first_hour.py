"""A shop's first hour with this project, command by command: feed, judgments, model, gate, exports, a later feed, mteb.

Each command is one that a user types. It is printed with what it said, and what must be true is checked: counts equal
the planted ones, files that were exported and imported come back byte by byte. Judgments are a book of Quepid's that
you have, or a small one that is made up. `--document` writes the transcript, shortened, for docs/first-hour.md; of a
real book nothing but counts, ids and figures is in it. The parts are in `first_hour_parts/`.

Run: python benchmarks/first_hour.py
     python benchmarks/first_hour.py --book book.json.gz --document docs/first-hour.md
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from first_hour_parts.books import write_book
from first_hour_parts.transcript import WIDTH, Transcript
from first_hour_parts.walk import Walk
from gen_rerank.errors import BadInput
from harness.command import run
from harness.this_run import ThisRun

PACKAGES = ("torch", "transformers", "mteb")
_TITLE = "A shop's first hour"
_WORDS = """\
What a shop does first, from its own exports to a model with a gate, as `benchmarks/first_hour.py` ran it. Commands and
their output are real; of long outputs a line says how much is left out, and a line that ends in … was longer.
`gen-rerank` is the project's command line. [Import and export](importing.md), [training](training.md) and
[evaluation](evaluating.md) explain what is seen here."""


def main(
    book: Annotated[Path | None, typer.Option(help="a book of Quepid's as JSON; one is made up by default")] = None,
    out: Annotated[Path, typer.Option(help="where everything is made; nothing may lie there")] = Path(
        "runs/first-hour"
    ),
    rows: Annotated[int, typer.Option(help="of the feed, at least 2,000")] = 10_000,
    steps: Annotated[int, typer.Option(min=1, help="of the training")] = 200,
    document: Annotated[Path | None, typer.Option(help="where the transcript goes, in Markdown")] = None,
) -> None:
    """Walk all of it; exit with 1 where a count or a file is not as it must be."""
    about = ThisRun.now(PACKAGES)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out}: something lies there; remove it, or name another folder")
    out.mkdir(parents=True, exist_ok=True)
    if book is None:
        copied = write_book(out / "book.json")
    else:
        copied = out / ("book.json.gz" if book.suffix == ".gz" else "book.json")
        try:
            shutil.copyfile(book, copied)
        except OSError as error:
            raise BadInput(f"--book {book}: cannot be read ({error.strerror})") from error
    transcript = Transcript(Console(width=WIDTH))
    Walk(out, copied, rows, steps, transcript).go()
    if document is not None:
        document.write_text(transcript.document(_TITLE, about, _WORDS), encoding="utf-8")
    if transcript.broken:
        print(f"not as it must be: {'; '.join(transcript.broken)}")
        sys.exit(1)


if __name__ == "__main__":
    run(main)
