"""A table of figures, which is shown twice: on the terminal and in a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from gen_rerank.reporting import markdown
from gen_rerank.reporting.tables import TextTable


@dataclass(frozen=True)
class FigureTable:
    """A table, ready to be shown.

    Attributes:
        title: of what.
        header: the columns; the first is text.
        rows: their cells.
        caption: what one needs to know to read it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def show(self, console: Console) -> None:
        """Print it, unless it is empty."""
        if not self.rows:
            return
        table = TextTable(self.title, self.caption)
        for i, name in enumerate(self.header):
            table.add_column(name, justify="right" if i else "left", no_wrap=not i)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def document(self) -> str:
        """Return it as Markdown, without its title and with the caption below."""
        table = markdown.table(self.header, self.rows)
        return f"{table}\n\n{self.caption}" if self.caption else table


def wide_console(least: int) -> Console:
    """Return a console that is wide enough for a table, wherever the output goes."""
    return Console(width=max(least, Console().width))
