"""Slices of files: together they are the whole file, and each is read without the others."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput, Product
from gen_rerank.data.reading import RowReader
from gen_rerank.data.slices import FileSlice, cut_file

LINES = b'{"product_id": "1", "title": "a"}\n\n{"product_id": "2", "title": "b"}\n{"product_id": "3", "title": "c"}\n'


def test_lines_are_cut_by_number_and_by_size(tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_bytes(LINES)
    cut = cut_file(file, 2, 10**6)
    assert cut.slices == (FileSlice(1, 2, 1, 0), FileSlice(3, 2, 2, 35))
    assert (cut.rows, cut.sha256) == (3, hashlib.sha256(LINES).hexdigest())
    assert [one.lines for one in cut_file(file, 10, 40).slices] == [2, 1, 1]  # a row that is too long has its own


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.parquet"])
@pytest.mark.parametrize("rows", [1, 3, 4, 7, 100])
def test_slices_are_the_file(name: str, rows: int, tmp_path: Path) -> None:
    file = tmp_path / name
    products = [Product(product_id=f"p{i}", title=f"desk {i}") for i in range(11)]
    if name.endswith(".parquet"):
        table = pa.table({"product_id": [p.product_id for p in products], "title": [p.title for p in products]})
        pq.write_table(table, file, row_group_size=4)
    else:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(file, "wt") as out:
            out.writelines(p.model_dump_json(exclude_defaults=True) + "\n\n" for p in products)
    whole = list(RowReader(file, Product).valid())
    assert [row for _, row in whole] == products
    parts = cut_file(file, rows, 10**6).slices
    assert [each for part in parts for each in RowReader(file, Product, part).valid()] == whole
    assert sum(part.rows for part in parts) == len(products)


@given(st.lists(st.binary(max_size=6), max_size=8), st.integers(1, 4), st.integers(1, 12))
def test_no_byte_is_left_out(lines: list[bytes], rows: int, size: int) -> None:
    from tempfile import TemporaryDirectory

    content = b"\n".join(line.replace(b"\n", b"") for line in lines)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "x.jsonl"
        file.write_bytes(content)
        parts = cut_file(file, rows, size).slices
        with file.open("rb") as opened:
            every = opened.readlines()
    assert [one.start for one in parts] == [sum(map(len, every[: one.first - 1])) for one in parts]
    assert sum(one.lines for one in parts) == len(every)
    assert all(one.lines <= rows for one in parts)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl.gz"
    file.write_bytes(gzip.compress(LINES * 1000)[:-20])
    with pytest.raises(BadInput, match="not a whole gzip file"):
        cut_file(file, 10, 10**6)


def test_the_form_is_known_by_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("[\n")
    with pytest.raises(BadInput, match="one JSON array"):
        RowReader(file, Product).require_form()
