"""Tables show text as it is, and lose nothing of it in a narrow console."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.text import Text

import gen_rerank
from gen_rerank.reporting.tables import TextTable, WideTable, one_line

ROOT = Path(gen_rerank.__file__).parents[1]
FIGURE = "0.871 [0.855, 0.886]"


def shown(table: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(table)
    return console.export_text()


def letters(text: str) -> str:
    """What is left of a table without its lines and spaces."""
    return "".join(re.findall(r"[^\s━─│┃┡┩┏┓└┘├┤┼╇┳┴]", text))


@pytest.mark.parametrize("name", ["[bold]x", "[/]", ":tv:", "\\[x]", "[link=a]b", "a:smile:"])
def test_a_string_is_text_in_every_place(name: str) -> None:
    table = TextTable(name, name)
    table.add_column(name)
    table.add_row(name)
    assert shown(table, 60).count(name) == 4
    wide = WideTable(name, name, name, [name])
    wide.add_row(name, [name])
    assert shown(wide, 60).count(name) == 6


def test_a_cell_may_have_a_colour_or_nothing() -> None:
    table = TextTable()
    table.add_row(Text("yes", "green"), None, "no")
    assert letters(shown(table, 60)) == "yesno"


@given(
    names=st.lists(st.sampled_from(["A", "bm25", "my-very-long-model-name-" * 4, "Über [b] :tv:"]), min_size=1),
    headings=st.lists(st.sampled_from(["nDCG@5", "ECE(10 bins)", "a-folder-with-a-long-name-" * 3]), min_size=1),
    width=st.integers(40, 260),
)
def test_nothing_is_lost_at_any_width(names: list[str], headings: list[str], width: int) -> None:
    table = WideTable("title", "caption", "System", headings)
    cells = [f"{number / 1000:.3f} [0.855, 0.886]" for number in range(len(names) * len(headings))]
    for place, name in enumerate(names):
        table.add_row(name, cells[place * len(headings) : (place + 1) * len(headings)])
    found = shown(table, width)
    assert max(map(len, found.splitlines())) <= width
    assert "…" not in found
    assert all(cell in found for cell in cells)  # figures are whole
    for part in found.split("┏")[1:]:
        assert part.count("┳") >= 1
    assert (found.count("title"), found.count("caption")) == (1, 1)


def test_even_where_not_one_figure_fits_it_is_there() -> None:
    table = WideTable("", "", "System", ["nDCG@5"])
    table.add_row("a-model", [FIGURE])
    found = shown(table, 18)
    assert "…" not in found
    assert max(map(len, found.splitlines())) <= 18
    # Each character stands in one of the two columns.
    assert sorted(letters(found)) == sorted(letters("Systema-modelnDCG@5" + FIGURE))


def test_long_names_leave_room_for_figures() -> None:
    table = WideTable("", "", "System", ["nDCG@5", "nDCG@10"])
    table.add_row("a-model-with-a-very-long-name-" * 2, [FIGURE, FIGURE])
    assert shown(table, 80).count("System") == 1
    assert "a-model-with-a-very-long-name-" * 2 in shown(table, 130)


def test_what_fits_is_one_table() -> None:
    table = WideTable("", "", "System", ["nDCG@5", "nDCG@10"])
    table.add_row("a", [FIGURE, FIGURE])
    assert shown(table, 56).count("System") == 1
    assert shown(table, 55).count("System") == 2
    assert shown(WideTable("nothing", "", "System", []), 80).count("System") == 1


def test_rich_s_own_table_is_used_nowhere_else() -> None:
    """It takes strings for markup."""
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ("gen_rerank", "train", "quant", "serve", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"rich\.(table|markup)|from rich import .*(table|markup)", path.read_text(encoding="utf-8"))
    ]
    assert found == ["gen_rerank/reporting/tables.py"]


def test_several_columns_of_names_stand_before_every_part() -> None:
    table = WideTable("", "", ("Measure", "Comparison"), ("Difference", "p", "corrected"))
    figures = ("-0.0178 [-0.0455, +0.0044]", "0.1599", "0.0390 *")
    table.add_row(("MRR(rel>=0.8)", "one-model - other"), figures)
    table.add_section()
    table.add_row(("RPS", "b - a"), figures)
    for width in (60, 80, 130):
        found = shown(table, width)
        assert max(map(len, found.splitlines())) <= width
        assert found.count("MRR(rel>=0.8)") == found.count("Comparison") == found.count("├") == found.count("┏")
        assert all(found.count(f" {cell} ") == 2 for cell in figures)
    assert shown(table, 130).count("┏") == 1
    assert shown(table, 60).count("┏") == 2


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\u2028b"])
def test_a_name_stays_on_one_line(name: str) -> None:
    code = name.encode("unicode_escape").decode()
    wide = WideTable(name, "", name, [name])
    wide.add_row(name, [name])
    assert shown(wide, 80).count(code) == 5
    assert one_line(f"Über {name} ✓\u200d") == f"Über {code} ✓\u200d"
