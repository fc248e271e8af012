"""Tables for a console: a string is text, and nothing of it is lost, however narrow the console is.

Names, tags and titles come from people. In rich's own table `[bold]` is markup and `:tv:` a picture, and what has no
room ends in an ellipsis; so every table of the project is one of these. What stands in it is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

# A heading that is longer, such as a folder's name, is folded.
_HEADING = 24
# What the borders take: of a column, and of a table.
_BORDER, _EDGE = 3, 1


class TextTable(Table):
    """Rich's table in which strings are text: no markup, no emoji codes, and folded where there is no room.

    Args:
        title: above it.
        caption: below it.
        more: as rich's `Table` takes it.

    Example:
        >>> table = TextTable()
        >>> table.add_column("Tag")
        >>> table.add_row("[bold] :tv:")
        >>> Console(width=40).print(table)
        ┏━━━━━━━━━━━━━┓
        ┃ Tag         ┃
        ┡━━━━━━━━━━━━━┩
        │ [bold] :tv: │
        └─────────────┘
    """

    def __init__(self, title: str = "", caption: str = "", **more: Any) -> None:
        super().__init__(
            title=Text(title, "table.title") if title else None,
            caption=Text(caption, "table.caption") if caption else None,
            **more,
        )

    def add_column(self, header: RenderableType = "", *arguments: Any, **more: Any) -> None:
        """Add a column; the arguments are rich's."""
        super().add_column(_as_text(header), *arguments, **{"overflow": "fold", **more})

    def add_row(self, *cells: RenderableType | None, **more: Any) -> None:
        """Add a row; a string is shown as it is, and what is to have a colour is rich's `Text`."""
        super().add_row(*map(_as_text, cells), **more)


class WideTable:
    """A table with many columns of figures; where the console is too narrow for all, several tables below each other.

    Every one of them begins with the same column of names. Figures are never folded, names and long headings are.

    Args:
        title: above the first.
        caption: below the last.
        names: the heading of the first column.
        headings: of the columns of figures.

    Attributes:
        names: the first column, its heading first.
        columns: those of figures, each with its heading first.

    Example:
        >>> table = WideTable("", "", "System", ["nDCG@5", "nDCG@10"])
        >>> table.add_row("bm25", ["0.812 [0.790, 0.833]", "0.871 [0.855, 0.886]"])
        >>> Console(width=40).print(table)
        ┏━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┓
        ┃ System ┃               nDCG@5 ┃
        ┡━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━┩
        │ bm25   │ 0.812 [0.790, 0.833] │
        └────────┴──────────────────────┘
        ┏━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┓
        ┃ System ┃              nDCG@10 ┃
        ┡━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━┩
        │ bm25   │ 0.871 [0.855, 0.886] │
        └────────┴──────────────────────┘
    """

    def __init__(self, title: str, caption: str, names: str, headings: Sequence[str]) -> None:
        self.title = title
        self.caption = caption
        self.names = [names]
        self.columns = [[heading] for heading in headings]

    def add_row(self, name: str, cells: Sequence[str]) -> None:
        """Add a row: its name, and one cell a column."""
        self.names.append(name)
        for column, cell in zip(self.columns, cells, strict=True):
            column.append(cell)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables that fit into the width."""
        parts = list(self._parts(options.max_width))
        for part in parts:
            first, last = part is parts[0], part is parts[-1]
            table = TextTable(self.title if first else "", self.caption if last else "")
            for column, width, justify in part:
                table.add_column(column[0], width=width, justify=justify)
            for cells in zip(*(column[1:] for column, _, _ in part), strict=True):
                table.add_row(*cells)
            yield table

    def _parts(self, room: int) -> Iterator[list[tuple[list[str], int, JustifyMethod]]]:
        """Yield the columns of each table with their widths."""
        widths = [_width(column, _HEADING) for column in self.columns]
        named = max(map(cell_len, self.names))
        if _EDGE + sum(width + _BORDER for width in (named, *widths)) > room:
            named = min(named, room // 3)  # long names are folded, so that several figures stand side by side
        names: tuple[list[str], int, JustifyMethod] = (self.names, named, "left")
        part, taken = [names], _EDGE + named + _BORDER
        for column, width in zip(self.columns, widths, strict=True):
            if len(part) > 1 and taken + width + _BORDER > room:
                yield part
                part, taken = [names], _EDGE + named + _BORDER
            part.append((column, width, "right"))
            taken += width + _BORDER
        yield part


def _width(column: Sequence[str], heading: int) -> int:
    """Return the width in which no figure of a column is folded, and its heading only where it is long."""
    return max(min(cell_len(column[0]), heading), *map(cell_len, column[1:]), 1)


def _as_text(cell: RenderableType | None) -> RenderableType:
    return Text(cell) if isinstance(cell, str) else cell or Text()
