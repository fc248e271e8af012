"""Tables for a console: a string is text, and nothing of it is lost, however narrow the console is.

Names, tags and titles come from people. In rich's own table `[bold]` is markup and `:tv:` a picture, and what has no
room ends in an ellipsis; so every table of the project is one of these. What stands in it is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unicodedata import category

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

# A heading that is longer, such as a folder's name, is folded.
_HEADING = 24
# What the borders take: of a column, and of a table.
_BORDER, _EDGE = 3, 1
# Of a column of names, where there is hardly any room.
_LEAST = 6
# Control characters, and what ends a line or a paragraph.
_CODED = ("Cc", "Zl", "Zp")


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
            title=Text(one_line(title), "table.title") if title else None,
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

    Every one of them begins with the same columns of names. Figures are never folded, names and long headings are.

    Args:
        title: above the first.
        caption: below the last.
        names: the heading of the first column, or of the first columns.
        headings: of the columns of figures.
        justify: by heading, for columns of names that stand right, and of figures that stand left.

    Attributes:
        names: the columns of names, each with its heading first.
        columns: those of figures, each with its heading first.
        sections: the numbers of the rows, from 1, under which a line is drawn.

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

    def __init__(
        self,
        title: str,
        caption: str,
        names: str | Sequence[str],
        headings: Sequence[str],
        justify: Mapping[str, JustifyMethod] | None = None,
    ) -> None:
        self.title = one_line(title)
        self.caption = caption
        self.names = [[one_line(name)] for name in ([names] if isinstance(names, str) else names)]
        self.columns = [[one_line(heading)] for heading in headings]
        self.sections: set[int] = set()
        self._justify = justify or {}

    def add_row(self, names: str | Sequence[str], cells: Sequence[str]) -> None:
        """Add a row: its name, or one a column of names, and one cell a column of figures."""
        named = [names] if isinstance(names, str) else names
        for column, cell in zip([*self.names, *self.columns], [*named, *cells], strict=True):
            column.append(one_line(cell))

    def add_section(self) -> None:
        """Draw a line under the last row."""
        self.sections.add(len(self.names[0]) - 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the tables that fit into the width."""
        parts = list(self._parts(options.max_width))
        for part in parts:
            first, last = part is parts[0], part is parts[-1]
            table = TextTable(self.title if first else "", self.caption if last else "")
            for column, width, justify in part:
                table.add_column(column[0], width=width, justify=self._justify.get(column[0], justify))
            for row, cells in enumerate(zip(*(column[1:] for column, _, _ in part), strict=True), 1):
                table.add_row(*cells, end_section=row in self.sections)
            yield table

    def _parts(self, room: int) -> Iterator[list[tuple[list[str], int, JustifyMethod]]]:
        """Yield the columns of each table with their widths."""
        widths = [_width(column, _HEADING) for column in self.columns]
        named = self._named(room, widths)
        names: list[tuple[list[str], int, JustifyMethod]] = [
            (column, width, "left") for column, width in zip(self.names, named, strict=True)
        ]
        start = _EDGE + sum(width + _BORDER for width in named)
        part, taken = list(names), start
        for column, width in zip(self.columns, widths, strict=True):
            if len(part) > len(names) and taken + width + _BORDER > room:
                yield part
                part, taken = list(names), start
            part.append((column, width, "right"))
            taken += width + _BORDER
        yield part

    def _named(self, room: int, widths: Sequence[int]) -> list[int]:
        """Return the widths of the columns of names.

        Where not all has room, long names are folded: beside all figures if a third of the room is left for them there,
        otherwise so that several figures stand side by side.
        """
        count = len(self.names)
        wanted = [max(map(cell_len, column)) for column in self.names]
        free = room - _EDGE - count * _BORDER
        beside_all = free - sum(width + _BORDER for width in widths)
        beside_one = free - max(widths, default=0) - _BORDER
        share = beside_all
        if beside_all < min(sum(wanted), room // 3):
            share = min(room // (3 if count == 1 else 2), max(beside_one, count * _LEAST))
        words = [max(cell_len(word) for cell in column for word in (cell.split() or [""])) for column in self.names]
        least = _shares(words, share)
        more = _shares([each - word for each, word in zip(wanted, least, strict=True)], share - sum(least))
        return [max(one + two, 1) for one, two in zip(least, more, strict=True)]


def one_line(text: str) -> str:
    r"""Return a name as tables and lines show it: a line break or a terminal's order in it is written as its code.

    Example:
        >>> one_line("my\nmodel")
        'my\\nmodel'
    """
    if text.isprintable():
        return text
    return "".join(one.encode("unicode_escape").decode() if category(one) in _CODED else one for one in text)


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Return what each of several gets of some room: what it wants where there is room, the others equal parts."""
    shares = [0] * len(wanted)
    for done, place in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[place] = min(wanted[place], max(room, 0) // (len(wanted) - done))
        room -= shares[place]
    return shares


def _width(column: Sequence[str], heading: int) -> int:
    """Return the width in which no figure of a column is folded, and its heading only where it is long."""
    return max(min(cell_len(column[0]), heading), *map(cell_len, column[1:]), 1)


def _as_text(cell: RenderableType | None) -> RenderableType:
    return Text(cell) if isinstance(cell, str) else cell or Text()
