"""Parquet and XLSX."""

from __future__ import annotations

import random
import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen_rerank.data.feeds.rows import FORMULA, FeedNote, FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.sheets import parquet_rows, sheet_names, sheet_rows
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.errors import BadInput


def workbook(path: Path, *sheets: list[list[Any]]) -> FeedSource:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"sheet {number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return FeedSource.recognise(path)


def test_the_first_sheet_is_read_with_its_row_numbers(tmp_path: Path) -> None:
    source = workbook(
        tmp_path / "f.xlsx", [[], ["id", "title", None], [1, "Desk"], [None, None], [2.5, "Lamp"]], [["x"]]
    )
    assert list(sheet_rows(source)) == [
        FeedRow(3, {"id": 1, "title": "Desk"}),
        FeedRow(5, {"id": 2.5, "title": "Lamp"}),
    ]
    assert sheet_names(source) == ["sheet 1", "sheet 2"]


def test_a_cell_behind_the_header_is_refused(tmp_path: Path) -> None:
    (row,) = sheet_rows(workbook(tmp_path / "f.xlsx", [["id", "title"], [1, "Desk", "oak"]]))
    assert row == UnreadRow(2, "too many cells", "more cells than the 2 of the header")


def test_an_empty_sheet_and_another_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="its first sheet is empty"):
        list(sheet_rows(workbook(tmp_path / "f.xlsx", [])))
    (tmp_path / "g.xlsx").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(BadInput, match=r"g\.xlsx: not a readable XLSX file .*of a ZIP archive, unpack the feed first"):
        list(sheet_rows(FeedSource.recognise(tmp_path / "g.xlsx")))


def parquet(path: Path, table: pa.Table) -> FeedRows:
    pq.write_table(table, path)
    return parquet_rows(FeedSource.recognise(path))


def test_parquet_has_maps_and_short_floats_as_the_file_says(tmp_path: Path) -> None:
    attributes = pa.array([[("colour", "red")]], pa.map_(pa.string(), pa.string()))
    table = pa.table({"id": [1.0], "price": pa.array([19.99], pa.float32()), "attributes": attributes})
    assert list(parquet(tmp_path / "f.parquet", table)) == [
        FeedRow(1, {"id": 1.0, "price": 19.99, "attributes": {"colour": "red"}})
    ]


def test_a_column_that_is_there_twice_gets_a_second_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["a"]), pa.array(["b"])], names=["id", "title", "title"])
    assert list(parquet(tmp_path / "f.parquet", table)) == [FeedRow(1, {"id": 1, "title": "a", "title (2)": "b"})]


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(BadInput, match="not a readable Parquet file"):
        list(parquet_rows(FeedSource.recognise(tmp_path / "f.parquet")))


def test_an_index_of_a_text_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    source = workbook(tmp_path / "f.xlsx", [["id", "title"], [1, "Desk"]])
    rewritten(source, {b"B2": b'<c r="B2" t="s"><v>99</v></c>'})
    with pytest.raises(BadInput, match=r"f\.xlsx: not a readable XLSX file"):
        list(sheet_rows(source))


@pytest.mark.parametrize("form", ["XLSX", "Parquet"])
def test_whatever_is_damaged_is_read_or_one_sentence_of_its_form(tmp_path: Path, form: str) -> None:
    rows = [[number, f"Desk {number}"] for number in range(50)]
    if form == "XLSX":
        whole = workbook(tmp_path / "f", [["id", "title"], *rows]).path.read_bytes()
    else:
        pq.write_table(pa.table({"id": [1, 2], "title": ["a", "b"]}), tmp_path / "f")
        whole = (tmp_path / "f").read_bytes()
    chance, refused = random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in chance.sample(range(4, len(whole)), 8):
            damaged[place] ^= 1 << chance.randrange(8)
        (tmp_path / "f").write_bytes(damaged)
        source = FeedSource.recognise(tmp_path / "f")
        try:
            list(sheet_rows(source) if form == "XLSX" else parquet_rows(source))
        except BadInput as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(f"not a readable {form} file" in sentence or "sheet" in sentence for sentence in refused)


def rewritten(source: FeedSource, cells: dict[bytes, bytes]) -> FeedSource:
    """Put other XML in the place of a sheet's cells, by their addresses."""
    with zipfile.ZipFile(source.path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    for address, cell in cells.items():
        parts[sheet], times = re.subn(rb'<c r="' + address + rb'".*?</c>', cell, parts[sheet])
        assert times == 1
    with zipfile.ZipFile(source.path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return source


def test_formulas_without_a_value_are_noted_and_those_with_one_read(tmp_path: Path) -> None:
    rows = [["id", "title", "brand"], [1, '=A2&"x"', '=A2&"y"'], ["=A2+1", None, None], [3, "Desk", '=""']]
    source = rewritten(
        workbook(tmp_path / "f.xlsx", rows),
        {
            b"C2": b'<c r="C2" t="str"><f>A2&amp;"y"</f><v>1y</v></c>',
            b"C4": b'<c r="C4" t="str"><f>""</f><v></v></c>',  # it gave an empty text
        },
    )
    title, row_id = FeedNote(FORMULA, "title", '=A2&"x"', ""), FeedNote(FORMULA, "id", "=A2+1", "")
    assert list(sheet_rows(source)) == [
        FeedRow(2, {"id": 1, "title": None, "brand": "1y"}, (title,)),
        FeedRow(3, {"id": None}, (row_id,)),
        FeedRow(4, {"id": 3, "title": "Desk", "brand": None}),
    ]


def test_a_header_of_formulas_without_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="row 1, its header, has a formula without a value: open and save"):
        list(sheet_rows(workbook(tmp_path / "f.xlsx", [["id", '="title"'], [1, "Desk"]])))
