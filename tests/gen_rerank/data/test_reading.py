"""Files: which form is read, and what is said of every other one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen_rerank import BadInput, Dataset, Product
from gen_rerank.data.reading import RowReader, rows_file

ROWS: list[dict[str, Any]] = [{"product_id": "a", "title": "Oak desk"}, {"product_id": "b", "title": "Lamp"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(folder: Path) -> list[str]:
    reader = RowReader(rows_file(folder, "products"), Product)
    titles = [row.title for row in reader.unique(lambda row: row.product_id)]
    assert reader.bad == []
    return titles


def test_a_byte_order_mark_is_skipped_also_where_files_were_joined(tmp_path: Path) -> None:
    lines = LINES.splitlines()
    (tmp_path / "products.jsonl").write_text(f"\ufeff{lines[0]}\n\ufeff{lines[1]}\n\ufeff\n", encoding="utf-8")
    assert read(tmp_path) == ["Oak desk", "Lamp"]


def test_compressed_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "products.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    assert read(tmp_path) == ["Oak desk", "Lamp"]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-6], lambda raw: b"oak" + raw, lambda raw: raw[:20] + b"xx" + raw[22:]]
)
def test_damaged_compressed_lines_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "products.jsonl.gz").write_bytes(damage(gzip.compress(LINES.encode() * 9)))
    with pytest.raises(BadInput, match=r"products\.jsonl\.gz: not a whole gzip file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(ROWS).encode(), "one JSON array; write one object a line"),
        (("\ufeff " + json.dumps(ROWS, indent=1)).encode(), "one JSON array"),
        (json.dumps(ROWS[0], indent=1).encode(), "objects of several lines"),
        (LINES.encode("utf-16"), "UTF-16; save it as UTF-8"),
        (LINES.encode("utf-16-le"), "UTF-16"),
        (b"product_id,title\na,Oak desk\nb,Lamp\n", "looks like a table such as CSV"),
        (b"<?xml version='1.0'?><rss/>", "XML or HTML"),
        (gzip.compress(LINES.encode(), mtime=0), "compressed by gzip; name it products.jsonl.gz"),
        (b"PAR1....", "a Parquet file; name it products.parquet"),
    ],
)
def test_another_form_is_named_and_nothing_is_skipped(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "products.jsonl").write_bytes(content)
    with pytest.raises(BadInput, match=rf"products\.jsonl: it .*{words}"):
        read(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"query_id": "q", "text": "desk", "split": "test"}\n')
    (tmp_path / "judgments.jsonl").write_text('{"query_id": "q", "product_id": "a", "relevance": 1}\n')
    with pytest.raises(BadInput, match=words):
        Dataset.load(tmp_path, skip_bad_rows=True)


def test_one_bad_line_at_the_start_is_a_bad_row_and_no_other_form(tmp_path: Path) -> None:
    (tmp_path / "products.jsonl").write_text("oops\n" + LINES)
    reader = RowReader(rows_file(tmp_path, "products"), Product)
    assert len(list(reader.unique(lambda row: row.product_id))) == 2
    assert [row.line for row in reader.bad] == [1]


@pytest.mark.parametrize("other", ["products.parquet", "products.jsonl.gz"])
def test_two_forms_beside_each_other_are_refused(tmp_path: Path, other: str) -> None:
    (tmp_path / "products.jsonl").write_text(LINES)
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(BadInput, match=rf"products\.jsonl and {other} are both there"):
        read(tmp_path)


def write_parquet(folder: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table({"product_id": ["a"], "title": ["Oak desk"], **columns}), folder / "products.parquet")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"__index_level_0__": [0]}, "pandas' index; write the file with to_parquet"),
        ({"colour": [None]}, "unknown column 'colour'; there may be product_id, title"),
    ],
)
def test_a_column_that_no_row_may_have_is_refused_once(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    write_parquet(tmp_path, columns)
    with pytest.raises(BadInput, match=words):
        read(tmp_path)


def test_attributes_as_bigquery_and_spark_export_them(tmp_path: Path) -> None:
    write_parquet(
        tmp_path, {"attributes": pa.array([[("wood", "oak"), ("size", None)]], pa.map_(pa.string(), pa.string()))}
    )
    reader = RowReader(rows_file(tmp_path, "products"), Product)
    assert [row.attributes for row in reader.unique(lambda row: row.product_id)] == [{"wood": "oak"}]


def test_a_map_is_an_object_wherever_it_stands(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.string())
    dims = pa.array([{"dims": [("w", "10"), ("h", None)]}], pa.struct([("dims", kind)]))
    write_parquet(tmp_path, {"attributes": dims, "brand": pa.array([[("w", "10"), ("w", "11")]], kind)})
    (row,) = RowReader(rows_file(tmp_path, "products"), Product).unique(lambda row: row.product_id)
    assert (row.attributes, row.brand) == ({"dims": "w: 10"}, "w, 10, w, 11")


@pytest.mark.parametrize("width", [pa.float16(), pa.float32(), pa.float64()])
def test_a_short_float_has_the_digits_that_it_prints(tmp_path: Path, width: pa.DataType) -> None:
    half = width == pa.float16()
    given = np.float16(1.1) if half else 19.99
    write_parquet(tmp_path, {
        "price": pa.array([given], width),
        "brand": pa.array([[given, None]], pa.list_(width)),
        "attributes": pa.array([{"w": given}], pa.struct([("w", width)])),
    })  # fmt: skip
    (row,) = RowReader(rows_file(tmp_path, "products"), Product).unique(lambda row: row.product_id)
    digits = "1.1" if half else "19.99"
    assert (str(row.price), row.brand, row.attributes) == (digits, digits, {"w": digits})


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["product_id", "title", "title"])
    pq.write_table(table, tmp_path / "products.parquet")
    with pytest.raises(BadInput, match="'title' is there twice"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "words"), [("products.csv", "of another form"), ("products.parquet", "a folder")])
def test_what_is_there_instead_is_named(tmp_path: Path, name: str, words: str) -> None:
    if name.endswith("csv"):
        (tmp_path / name).write_text("product_id,title\n")
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=f"neither products.jsonl nor products.parquet is there; {name} is {words}"):
        read(tmp_path)


def test_an_empty_name_is_an_unknown_column(tmp_path: Path) -> None:
    (tmp_path / "products.jsonl").write_text('{"product_id": "a", "title": "x", "": 1}\n{"product_id": \n')
    reader = RowReader(rows_file(tmp_path, "products"), Product)
    assert list(reader.unique(lambda row: row.product_id)) == []
    assert reader.bad[0].reason == "unknown column ''"
    assert "at column" in reader.bad[1].reason


def test_rows_of_a_data_frame_with_missing_values(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"product_id": [1.0, 2.0], "title": ["Oak desk", "Lamp"], "brand": ["Holm", None], "price": [5, float("nan")],
         "available": [True, None]}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "products.parquet", index=False)
    rows = list(RowReader(rows_file(tmp_path, "products"), Product).unique(lambda row: row.product_id))
    assert [(row.product_id, row.brand, row.price, row.available) for row in rows] == [
        ("1", "Holm", 5.0, True),
        ("2", None, None, None),
    ]


def test_a_time_that_python_cannot_hold_is_no_traceback(tmp_path: Path) -> None:
    write_parquet(tmp_path, {"brand": pa.array([2**62], pa.timestamp("us"))})
    with pytest.raises(BadInput, match=r"products\.parquet: not a readable Parquet file"):
        read(tmp_path)


def test_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "products.parquet").write_bytes(b"oak")
    with pytest.raises(BadInput, match="not a readable Parquet file"):
        read(tmp_path)
