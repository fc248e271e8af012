"""An import of judgments as a whole: what appears in the folder, what stays there, and what is refused before."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.data.formats.judgment_table import open_judgment_table
from gen_rerank.data.formats.opensearch import open_opensearch
from gen_rerank.data.formats.pairs import open_pairs
from gen_rerank.data.formats.quepid import open_quepid
from gen_rerank.data.formats.trec import open_trec
from gen_rerank.data.importing.gathering import BLANK_GRADE
from gen_rerank.data.importing.grading import read_scale
from gen_rerank.data.importing.judging import UNGRADED_PAIR, JudgmentOptions, import_judgments
from gen_rerank.data.importing.report import ImportReport

HEADER = "query,product_id,grade,title,information_need\n"
ROWS = "oak desk,p1,3,Oak desk,For work.\noak desk,p2,0,Lamp,\nlamp,p2,2,Lamp,\n"
SCALE = read_scale("0-3")


def load(tmp_path: Path, out: Path, text: str = HEADER + ROWS, **options) -> ImportReport:
    source = tmp_path / "votes.csv"
    source.write_text(text, encoding="utf-8")
    chosen = JudgmentOptions(**{"scale": SCALE, **options})
    return import_judgments(source, out, "judgments", open_judgment_table, chosen)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_with_all_that_the_source_has(tmp_path):
    report = load(tmp_path, tmp_path / "shop")
    data = Dataset.load(tmp_path / "shop")
    assert [(row.product_id, row.relevance) for row in data.judgments] == [("p1", 1.0), ("p2", 0.0), ("p2", 2 / 3)]
    assert report.kept == {"products": 2, "queries": 2, "judgments": 3, "needs": 1}
    assert report.read == {"rows": 3}
    assert report.found["splits"].startswith("train 1, validation 0, test 1 (2 drawn by 0.8, 0.1, 0.1, seed 0)")
    (need,) = (tmp_path / "shop" / "needs.jsonl").read_text().splitlines()
    assert json.loads(need)["need"] == "For work."
    assert names(tmp_path) == ["shop", "votes.csv"]


def test_pairs_that_nobody_graded_are_counted(tmp_path):
    rows = "oak desk,p1,3,Oak desk,\noak desk,p2,,Lamp,\nlamp,p2,,Lamp,\nlamp,p1,,,\nlamp,p1,1,,\n"
    report = load(tmp_path, tmp_path / "shop", HEADER + rows)
    assert report.read == {"rows": 5}
    assert report.left_open == {BLANK_GRADE: 3, UNGRADED_PAIR: 2}
    assert report.kept["judgments"] == 2


def test_what_to_do_with_a_pair_given_twice_is_said_where_something_can_be_done(tmp_path):
    report = load(tmp_path, tmp_path / "shop", HEADER + ROWS + "lamp,p2,1,Lamp,\n")
    said = "the pair was already given in votes.csv:4 with the grade '2', here '1'; that is kept"
    assert report.first_refused[0].reason == (
        f"{said}; if these are votes, name the column of raters with --map rater=COLUMN"
    )
    (tmp_path / "qrels.txt").write_text("q1 0 p1 3\nq1 0 p1 3\n")
    (tmp_path / "topics.tsv").write_text("q1\toak desk\n")
    (tmp_path / "trec").mkdir()
    for name in ("qrels.txt", "topics.tsv"):
        (tmp_path / name).rename(tmp_path / "trec" / name)
    chosen = JudgmentOptions(scale=SCALE, replace=True)
    report = import_judgments(tmp_path / "trec", tmp_path / "shop", "trec", open_trec, chosen)
    assert report.first_refused[0].reason == "the pair was already given in qrels.txt:1; that is kept"


@pytest.mark.parametrize("opener", [open_judgment_table, open_pairs, open_quepid, open_opensearch])
def test_a_folder_or_a_pipe_in_place_of_a_file(tmp_path, opener):
    (tmp_path / "lists").mkdir()
    with pytest.raises(BadInput, match="lists: is a folder; name the file with the judgments"):
        import_judgments(tmp_path / "lists", tmp_path / "shop", "any", opener, JudgmentOptions(scale=SCALE))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="pipe: is a pipe or a device, and judgments are read more than once"):
        import_judgments(tmp_path / "pipe", tmp_path / "shop", "any", opener, JudgmentOptions(scale=SCALE))


def test_a_catalog_that_is_there_is_used_and_stays(tmp_path):
    shop = tmp_path / "shop"
    (shop / "pictures").mkdir(parents=True)
    (shop / "pictures" / "judgments.jsonl").write_text("a picture")
    catalog = '{"product_id": "p1", "title": "Writing desk"}\n'
    (shop / "products.jsonl").write_text(catalog)
    report = load(tmp_path, shop)
    assert report.refused == {"unknown product": 2}
    assert [(row.file, row.line) for row in report.first_refused] == [("votes.csv", 3), ("votes.csv", 4)]
    assert (shop / "products.jsonl").read_text() == catalog
    assert names(shop) == ["judgments.jsonl", "needs.jsonl", "pictures", "products.jsonl", "queries.jsonl"]
    assert (shop / "pictures" / "judgments.jsonl").read_text() == "a picture"


def test_a_second_import_needs_replace_and_keeps_ids_and_splits(tmp_path):
    shop = tmp_path / "shop"
    load(tmp_path, shop)
    before = {path.name: path.read_bytes() for path in shop.iterdir()}
    with pytest.raises(BadInput, match=r"has judgments already; choose another folder, or .* --replace"):
        load(tmp_path, shop)
    assert {path.name: path.read_bytes() for path in shop.iterdir()} == before
    load(tmp_path, shop, replace=True)
    assert {path.name: path.read_bytes() for path in shop.iterdir()} == before
    load(tmp_path, shop, HEADER + "lamp,p1,1,,\nsofa,p1,0,,\n", replace=True)
    data = Dataset.load(shop)
    assert [row.text for row in data.queries.values()] == ["oak desk", "lamp", "sofa"]
    assert [row.relevance for row in data.judgments] == [1 / 3, 0.0]


def test_judgments_that_lie_there_as_parquet_are_replaced_by_one_file(tmp_path):
    shop = tmp_path / "shop"
    load(tmp_path, shop)
    rows = [row.model_dump() for row in Dataset.load(shop).judgments]
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), shop / "judgments.parquet")
    (shop / "judgments.jsonl").unlink()
    load(tmp_path, shop, replace=True)
    assert "judgments.parquet" not in names(shop)
    assert len(Dataset.load(shop).judgments) == 3


def test_the_scale_must_be_known(tmp_path):
    with pytest.raises(BadInput, match=r"say it with --scale, as in --scale 0-3"):
        load(tmp_path, tmp_path / "shop", scale=None)
    assert names(tmp_path) == ["votes.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER, "has no rows"),
        ("", "is empty"),
        ("a,b\n1,2\n", r"no column for the query; name it with --map query=COLUMN \(there are a, b\)"),
        ("query,grade\nx,2\n", "no column for the product"),
        ("query,product\nx,2\n", "no column for the grade"),
        (HEADER + "desk,p1,9,Desk,\n", r"no usable judgments \(votes.csv:2: the grade '9' is outside"),
        ("query,product_id,grade\ndesk,p1,3\n", "no usable judgments .*has no text here; import the catalog"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_used(tmp_path, text, said):
    with pytest.raises(BadInput, match=said):
        load(tmp_path, tmp_path / "shop", text)
    assert names(tmp_path) == ["votes.csv"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a")
    with pytest.raises(BadInput, match="holds files, and none of products, queries or judgments"):
        load(tmp_path, tmp_path / "photos")
    with pytest.raises(BadInput, match="is a file; name a folder"):
        load(tmp_path, tmp_path / "votes.csv")
    assert names(tmp_path / "photos") == ["a.jpg"]


def test_a_bad_row_of_the_folder_stops_the_import(tmp_path):
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "products.jsonl").write_text('{"product_id": "p1"}\n')
    with pytest.raises(BadInput, match=r"products\.jsonl:1: column 'title' is missing; correct the row first"):
        load(tmp_path, shop)
    assert names(shop) == ["products.jsonl"]
