"""CSV and its kin: delimiters, headers, quotes, lines."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank.data.cleaning import READ_CHARACTERS
from gen_rerank.data.feeds.rows import FeedRow, UnreadRow
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.data.feeds.tables import column_names, delimiter_of, table_rows


def rows_of(folder: Path, text: str, delimiter: str | None = None) -> list[FeedRow | UnreadRow]:
    path = folder / "feed.csv"
    path.write_bytes(text.encode())
    source = FeedSource(path, False, FeedForm.TABLE, "utf-8", "UTF-8")
    return list(table_rows(source, delimiter or delimiter_of(source)))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "title", "text"], ["1", "Desk, of oak; large", "a|b\tc"], ["2", "Lamp", "1,5; 2,5; 3,5"]])
    first, second = rows_of(tmp_path, file.getvalue())
    assert isinstance(first, FeedRow)
    assert first.cells == {"id": "1", "title": "Desk, of oak; large", "text": "a|b\tc"}
    assert isinstance(second, FeedRow)
    assert second.cells["text"] == "1,5; 2,5; 3,5"


def test_decimal_commas_do_not_make_a_comma_the_delimiter(tmp_path: Path) -> None:
    first, _ = rows_of(tmp_path, "id;title;price\n1;Desk;19,99\n2;Lamp;5,00\n")
    assert isinstance(first, FeedRow)
    assert first.cells == {"id": "1", "title": "Desk", "price": "19,99"}


def test_spreadsheets_may_name_the_delimiter(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "sep=;\nid;title\n1;Desk\n") == [FeedRow(3, {"id": "1", "title": "Desk"})]


def test_a_line_is_where_a_row_begins(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 'id,title\r\n1,"Oak\r\ndesk"\r\n\r\n2,Lamp\r\n')
    assert [row.line for row in rows] == [2, 5]


def test_too_many_cells_are_refused_and_too_few_are_counted(tmp_path: Path) -> None:
    many, few = rows_of(tmp_path, "id,title,brand\n1,Desk,oak,Acme\n2,Lamp\n", ",")
    assert many == UnreadRow(2, "too many cells", "4 cells where the header has 3; is a delimiter not quoted?")
    assert isinstance(few, FeedRow)
    assert few.cells == {"id": "2", "title": "Lamp"}
    assert [(note.kind, note.before, note.after) for note in few.notes] == [
        ("cells missing at the end of a row", "2 cells", "3 cells")
    ]


def test_a_quote_inside_a_cell_costs_its_row_and_not_the_next(tmp_path: Path) -> None:
    first, bad, last = rows_of(tmp_path, 'id,title\n1,Desk\n2,"5" wide"\n3,Lamp\n')
    assert isinstance(bad, UnreadRow)
    assert (bad.line, bad.kind) == (3, "quotes that do not close")
    assert [row.line for row in (first, last)] == [2, 4]


def test_a_quote_that_never_closes_is_said_with_the_lines_that_it_took(tmp_path: Path) -> None:
    _, bad = rows_of(tmp_path, 'id,title\n1,Desk\n2,"Lamp\n3,Sofa\n4,Chair\n')
    assert isinstance(bad, UnreadRow)
    assert bad.reason.startswith("the quotes of lines 3 to 5 are not those of CSV")


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "id,title\n") == []


def test_names_of_columns() -> None:
    assert column_names(["", "Title ", "Title", "Title", "<b>Brand</b>", None]) == [
        "", "Title", "Title (2)", "Title (3)", "Brand", "column 6",
    ]  # fmt: skip


CELLS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], whitelist_characters='\n",;'), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_what_csv_writes_is_read_again(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, ...]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "title", "text"), *cells])
    rows = rows_of(tmp_path_factory.mktemp("csv"), file.getvalue(), ",")
    assert [tuple(row.cells.values()) for row in rows if isinstance(row, FeedRow)] == cells


def test_a_cell_beyond_the_limit_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("id,title\n1," + "x" * (READ_CHARACTERS * 2 + 1) + "\n2,Desk\n", encoding="utf-8")
    source = FeedSource.recognise(tmp_path / "f.csv")
    large, desk = table_rows(source, ",")
    assert isinstance(large, UnreadRow)
    assert (large.line, large.kind) == (2, "cell too large")
    assert desk == FeedRow(3, {"id": "2", "title": "Desk"})
