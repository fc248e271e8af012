"""The files of a set: found, checked, and told of in words where something is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.public_sets.set_files import find_file, set_file, set_parts, set_rows

from .writing import json_lines, table


def rows_of(file: Path, *needed: str, **options: object) -> list:
    return [row.cells for row in set_rows(file, "rows", needed, ImportReport("", ""), **options)]


def test_a_file_is_found_by_its_name_whatever_its_form(tmp_path: Path):
    for name in ("Query.CSV", "product.jsonl.gz", "labels.md", "query_old.csv"):
        (tmp_path / name).write_bytes(b"x")
    assert find_file(tmp_path, "query") == tmp_path / "Query.CSV"
    assert find_file(tmp_path, "product*") == tmp_path / "product.jsonl.gz"
    assert find_file(tmp_path, "labels") is None


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    for name in ("query.csv", "query.parquet"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=r"query.csv and query.parquet are both there"):
        find_file(tmp_path, "query")


def test_what_is_missing_is_told(tmp_path: Path):
    file = table(tmp_path / "train.csv", ("a", "b"))
    (tmp_path / "label.csv.zip").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"train.csv: is a file; name the folder of the set"):
        set_file(file, "labels", "label")
    with pytest.raises(BadInput, match=r"nowhere: no such folder; name the folder of the set"):
        set_file(tmp_path / "nowhere", "labels", "label")
    with pytest.raises(BadInput, match=r"label.csv.zip: unpack it first"):
        set_file(tmp_path, "labels", "label")
    with pytest.raises(BadInput, match=r"has no query.csv \(or .parquet, .json, …\), which holds the set's queries"):
        set_file(tmp_path, "queries", "query")


def test_parts_are_all_data_files_below_a_folder(tmp_path: Path):
    for name in ("data/b.parquet", "data/a.parquet", ".cache/c.parquet", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in set_parts(tmp_path)] == ["a.parquet", "b.parquet"]
    assert [file.name for file in set_parts(tmp_path, "b*")] == ["b.parquet"]
    assert set_parts(tmp_path / "README.md") == [tmp_path / "README.md"]
    with pytest.raises(BadInput, match="holds no data files"):
        set_parts(empty(tmp_path))
    with pytest.raises(BadInput, match=r"nowhere: no such file or folder"):
        set_parts(tmp_path / "nowhere")


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_a_column_that_is_missing_is_named(tmp_path: Path):
    file = table(tmp_path / "a.csv", ("query", "docid"), ("desk", 1))
    assert rows_of(file, "query", "rating|docid") == [{"query": "desk", "docid": "1"}]
    with pytest.raises(BadInput, match=r"a.csv: has no column 'rating' or 'grade'; there are query, docid"):
        rows_of(file, "rating|grade")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"query,docid\n", "has no rows that can be read"),
        (gzip.compress(b"query,docid\ndesk,1\n" * 900, mtime=0)[:-40], "not a whole gzip file"),
        (b"<rss></rss>", "is XML"),
        (b"PAR1 but nothing else", "not a readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words(tmp_path: Path, raw: bytes, said: str):
    file = tmp_path / "a.csv"
    file.write_bytes(raw)
    with pytest.raises(BadInput, match=said):
        rows_of(file, "query")


def test_text_that_is_no_unicode_is_in_the_encoding_of_the_set(tmp_path: Path):
    for encoding in ("latin-1", "utf-8", "utf-16"):
        file = table(tmp_path / "a.csv", ("title", "price"), ("Winkel 45° für Möbel", 1), encoding=encoding)
        assert rows_of(file, "title", legacy="cp1252")[0]["title"] == "Winkel 45° für Möbel"


def test_rows_are_counted_and_those_that_cannot_be_read_refused(tmp_path: Path):
    file = json_lines(tmp_path / "a.jsonl.gz", [{"query": "desk"}])
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + b"[1]\n"))
    report = ImportReport("", "")
    assert len(list(set_rows(file, "judgments", ["query"], report))) == 1
    assert report.read == {"judgments": 2}
    assert [(row.line, row.reason) for row in report.first_refused] == [(2, "not a JSON object")]
