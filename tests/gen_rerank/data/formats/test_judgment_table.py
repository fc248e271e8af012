"""Tables of judgments: any delimiter and encoding, one row a vote or one a pair, texts of products inside or not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gen_rerank.data.formats.judgment_table import open_judgment_table, rated
from gen_rerank.data.importing.judging import JudgmentOptions
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.records import Judgment

VOTES = "query,product,grade,rater\ndesk,p1,3,Ann\ndesk,p1,1,Bob\n"


def votes(path: Path, **options) -> list[Vote]:
    return list(open_judgment_table(path, JudgmentOptions(**options), ImportReport(str(path), "judgments")).votes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_delimiters_and_encodings_are_found(tmp_path, delimiter, encoding):
    path = tmp_path / "votes.csv.gz"
    path.write_bytes(gzip.compress(VOTES.replace(",", delimiter).replace("desk", "Sekretär").encode(encoding)))
    found = votes(path)
    assert [(one.line, one.query, one.product_id, one.grade, one.rater) for one in found] == [
        (2, "Sekretär", "p1", "3", "Ann"),
        (3, "Sekretär", "p1", "1", "Bob"),
    ]


def test_lines_are_those_of_an_editor(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text('query,product,grade,title\n"oak\ndesk",p1,3,"Oak, desk"\nlamp,p2,1,Lamp\n', encoding="utf-8")
    assert [(one.line, dict(one.product)) for one in votes(path)] == [
        (2, {"title": "Oak, desk"}),
        (4, {"title": "Lamp"}),
    ]


def test_a_row_without_a_rater_is_the_pairs_own_grade_and_blank_cells_are_none(tmp_path):
    path = tmp_path / "votes.tsv"
    path.write_text(
        "query_id\tquery\tproduct_id\tgrade\trater\ttags\n \tdesk\tp1\t \t \tgift| typo |\n", encoding="utf-8"
    )
    (one,) = votes(path)
    assert (one.query_id, one.grade, one.rater, one.tags) == (None, None, None, ("gift", "typo"))


def test_json_with_all_raters_in_a_row(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps({"query": "desk", "product_id": 7, "grade": 1, "raters": ["0", None, 3]}), "utf-8")
    assert [(one.product_id, one.grade, one.rater) for one in votes(path)] == [
        (7, "0", "1"),
        (7, None, "2"),
        (7, 3, "3"),
    ]


@pytest.mark.parametrize("as_array", [False, True])
def test_names_that_only_a_later_row_has_count(tmp_path, as_array):
    rows = [
        {"query": "desk", "product_id": "1", "title": "Desk", "grade": 3},
        {"query": "lamp", "product_id": "2", "title": "Lamp", "grade": 1, "rater": "ann", "split": "test"},
        {"query": "sofa", "product_id": "3", "title": "Sofa", "raters": [0, 3], "tags": ["new"], "need": "Rest."},
    ]
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(rows) if as_array else "\n".join(map(json.dumps, rows)), "utf-8")
    found = votes(path)
    assert [(one.grade, one.rater) for one in found] == [(3, None), (1, "ann"), (0, "1"), (3, "2")]
    assert [one.split for one in found] == [None, "test", None, None]
    assert (found[3].tags, found[3].need) == (("new",), "Rest.")


def test_a_known_name_that_comes_after_the_head_is_read_from_there_and_said(tmp_path):
    path = tmp_path / "votes.jsonl"
    row = {"query": "desk", "product_id": "1", "title": "Desk", "grade": 3}
    late = {**row, "split": "test", "annotator": "ann", "score": 1, "colour": "red"}
    path.write_text(f"{json.dumps(row)}\n" * 1000 + json.dumps(late), "utf-8")
    report = ImportReport("votes", "judgments")
    *_, before, one = open_judgment_table(path, JudgmentOptions(), report).votes
    assert (before.split, before.rater) == (None, None)
    assert (one.line, one.split, one.rater, one.grade) == (1001, "test", "ann", 3), "there was a column for grades"
    assert report.found["columns read from a later row on"] == (
        "rater ← annotator (from line 1,001 on), split ← split (from line 1,001 on)"
    )
    assert report.found["columns that first come after 1,000 rows"].count("(in 1 row)") == 4
    assert report.found["columns not kept"] == "score (in 1 row)"


def test_a_short_first_row_of_a_table_hides_no_column(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("query,product,grade,rater\ndesk,p1,3\ndesk,p2,1,ann\n", encoding="utf-8")
    report = ImportReport("votes", "judgments")
    found = list(open_judgment_table(path, JudgmentOptions(), report).votes)
    assert [one.rater for one in found] == [None, "ann"]
    assert report.changes["cells missing at the end of a row"].count == 1


def test_columns_that_nobody_keeps_are_said(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("query,docid,grade,title,supplier,note\na,1,3,Desk,Lux,\nb,2,1,,Lux,x\n", encoding="utf-8")
    report = ImportReport("votes", "judgments")
    list(open_judgment_table(path, JudgmentOptions(), report).votes)
    assert report.found["columns not kept"] == "supplier (in 2 rows), note (in 1 row)"


@pytest.mark.parametrize(
    ("cells", "graded"),
    [
        ({"raters": [3, 2]}, [(3, "1"), (2, "2")]),
        ({"raters": "[3,1]"}, [(3, "1"), (1, "2")]),
        ({"raters": {"ann": 1, "bob": None}}, [(1, "ann"), (None, "bob")]),
        ({"raters": '{"ann": 1}'}, [(1, "ann")]),
        ({"grade": 2}, [(2, None)]),
        ({"grade": 2, "raters": []}, [(2, None)]),
        ({"grade": 2, "raters": [None, ""]}, [(2, None)]),
        ({"grade": 2, "raters": float("nan")}, [(2, None)]),
        ({"grade": 2, "raters": 5}, [(2, None)]),
        ({"grade": 2, "raters": "[3,"}, [(2, None)]),
    ],
)
def test_raters_in_any_form(tmp_path, cells, graded):
    path = tmp_path / "votes.jsonl"
    rows = [{"query": "a", "product_id": "1", "raters": [1]}, {"query": "b", "product_id": "1", "grade": 0}]
    rows.append({"query": "c", "product_id": "1", **cells})
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    report = ImportReport("votes", "judgments")
    found = list(open_judgment_table(path, JudgmentOptions(), report).votes)[2:]
    assert [(one.grade, one.rater) for one in found] == graded
    unreadable = cells.get("raters") in (5, "[3,")
    assert list(report.changes) == ["raters' grades left out: they cannot be read"] * unreadable


@pytest.mark.parametrize(
    ("cell", "said"),
    [("[1,", "not valid JSON"), ("1;2", "a list or an object of names and grades, not '1;2'")],
)
def test_raters_that_cannot_be_read_are_refused(tmp_path, cell, said):
    path = tmp_path / "votes.csv"
    path.write_text(f'query,docid,labels\ndesk,1,"{cell}"\ndesk,2,"[1,2]"\n', encoding="utf-8")
    report = ImportReport("votes", "judgments")
    found = list(open_judgment_table(path, JudgmentOptions(), report).votes)
    assert [(one.product_id, one.grade, one.rater) for one in found] == [("2", 1, "1"), ("2", 2, "2")]
    ((line, reason),) = [(row.line, row.reason) for row in report.first_refused]
    assert line == 2
    assert said in reason


def test_columns_are_named_by_people(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("was,welches,note\ndesk,p1,3\n", encoding="utf-8")
    (one,) = votes(path, columns={"query": "was", "product": "welches", "grade": "note"})
    assert (one.query, one.product_id, one.grade) == ("desk", "p1", "3")


def test_a_relevance_that_is_not_the_mean_is_told():
    report = ImportReport("shop", "judgments")
    grades = rated(Judgment(query_id="q", product_id="p", relevance=0.9, labels=(0.5, 1.0)), report)
    assert grades == [("1", 0.5), ("2", 1.0)]
    assert report.changes["relevance that is not the mean of the labels"].count == 1
