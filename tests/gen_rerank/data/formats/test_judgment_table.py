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
