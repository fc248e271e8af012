"""Quepid: books with votes and texts, ratings with one column or one a rater; the real book where it is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import openpyxl
import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.data.formats.quepid import open_quepid
from gen_rerank.data.importing.gathering import BLANK_GRADE
from gen_rerank.data.importing.grading import read_scale
from gen_rerank.data.importing.judging import UNGRADED_PAIR, JudgmentOptions, import_judgments
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote

REAL = Path(__file__).parents[5] / "shared" / "data" / "quepid" / "book.json.gz"


def vote(rating: object, rater: str = "Ann", **more: object) -> dict[str, object]:
    return {"rating": rating, "unrateable": False, "judge_later": False, "user_email": rater, **more}


BOOK = {
    "name": "Desks",
    "scorer": {"name": "nDCG@10"},
    "query_doc_pairs": [
        {"query_text": "desk", "doc_id": "1", "document_fields": json.dumps({"title": "Oak desk", "brand": "Lind"}),
         "information_need": "For work.", "judgements": [vote(3.0, "Bob"), vote(1.0, "Ann")]},
        {"query_text": "desk", "doc_id": "2", "document_fields": {"name": "Lamp"},
         "judgements": [vote(None, unrateable=True), vote(None, "Bob", judge_later=True), vote(None, "Cy")]},
        {"query_text": "lamp", "doc_id": "2", "document_fields": "{broken", "judgements": []},
        "no pair",
    ],
}  # fmt: skip


def opened(path: Path) -> tuple[list[Vote], ImportReport]:
    report = ImportReport(str(path), "quepid")
    return list(open_quepid(path, JudgmentOptions(), report).votes), report


def written(path: Path, book: object = BOOK, **more: object) -> Path:
    path.write_text(json.dumps(book, **more), encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 1])
def test_a_book(tmp_path, indent):
    votes, report = opened(written(tmp_path / "book.json", indent=indent))
    assert [(one.line, one.query, one.product_id, one.grade, one.rater) for one in votes] == [
        (1, "desk", "1", 3.0, "Bob"),
        (1, "desk", "1", 1.0, "Ann"),
        (2, "desk", "2", None, None),
        (3, "lamp", "2", None, None),
    ]
    assert [dict(one.product) for one in votes[1:]] == [{"title": "Oak desk", "brand": "Lind"}, {"title": "Lamp"}, {}]
    assert [one.blanks for one in votes[2:]] == [0, 1], "votes that are none are refused, and no blanks"
    assert votes[0].need == "For work."
    assert report.read == {"pairs": 4, "votes": 5}
    assert report.refused == {"unrateable": 1, "put off": 1, "without a rating": 1, "not a pair": 1}
    assert str(report.first_refused[0]) == "book.json query_doc_pairs:2: the vote of Ann is unrateable"


def test_a_book_may_say_its_scale(tmp_path):
    path = written(tmp_path / "book.json", {**BOOK, "scorer": {"scale": [0, 1, 2, 3]}})
    source = open_quepid(path, JudgmentOptions(), ImportReport("book", "quepid"))
    assert str(source.scale) == "0-3"


@pytest.mark.parametrize("content", ["[]", '{"queries": []}', '{"query_doc_pairs": {}}'])
def test_json_that_is_no_book(tmp_path, content):
    (tmp_path / "case.json").write_text(content)
    with pytest.raises(BadInput, match="has no query_doc_pairs; export the book from Quepid as JSON"):
        opened(tmp_path / "case.json")


def test_ratings_with_a_column_for_each_rater(tmp_path):
    (tmp_path / "book.csv").write_text("query,docid,Ann,Bob B.\n -desk,1,3.0,\n -desk,2,,\nlamp,2,0.0,1.0\n")
    votes, _ = opened(tmp_path / "book.csv")
    assert [(one.line, one.query.strip(), one.product_id, one.grade, one.rater) for one in votes] == [
        (2, "-desk", "1", "3.0", "Ann"),
        (2, "-desk", "1", None, None),
        (3, "-desk", "2", None, None),
        (4, "lamp", "2", "0.0", "Ann"),
        (4, "lamp", "2", "1.0", "Bob B."),
    ]
    assert [one.blanks for one in votes if one.grade is None] == [1, 2]


@pytest.mark.parametrize(
    ("header", "raters", "left"),
    [
        ("query,docid,ann,bob,rating", "none, as there is a column rating", "ann (in 2 rows), bob (in 1 row)"),
        ("query,docid,rater 1,bob,rating", "rater 1", "bob (in 1 row)"),
    ],
)
def test_columns_of_raters_that_are_not_read_are_said(tmp_path, header, raters, left):
    (tmp_path / "book.csv").write_text(f"{header}\ndesk,1,3,,2\nlamp,2,0,1,1\n")
    votes, report = opened(tmp_path / "book.csv")
    assert [one.grade for one in votes] == (["2", "1"] if raters.startswith("none") else ["3", "0"])
    assert report.found["raters' columns"] == raters
    assert report.found["columns not kept"] == left


def test_blank_cells_of_a_sheet_are_no_votes(tmp_path):
    book = openpyxl.Workbook()
    for row in (["query", "docid", "Ann", "Bob"], ["desk", 1, 3, None], ["desk", 2, None, 1]):
        book.active.append(row)
    book.save(tmp_path / "book.xlsx")
    votes, _ = opened(tmp_path / "book.xlsx")
    assert [(one.product_id, one.grade, one.rater) for one in votes] == [
        (1, 3, "Ann"),
        (1, None, None),
        (2, 1, "Bob"),
        (2, None, None),
    ]


def test_a_short_row_of_ratings_has_no_votes(tmp_path):
    (tmp_path / "book.csv").write_text("query,docid,Ann\ndesk\nlamp,2,1\n")
    votes, _ = opened(tmp_path / "book.csv")
    assert [(one.query, one.product_id, one.grade) for one in votes] == [("desk", None, None), ("lamp", "2", "1")]


def test_what_is_shown_of_documents_and_not_kept_is_said(tmp_path):
    _, report = opened(written(tmp_path / "book.json"))
    assert "fields of documents not kept" not in report.found
    one_pair = {"query_doc_pairs": [{"query_text": "a", "doc_id": "1", "document_fields": {"title": "A", "sum": 1}}]}
    _, report = opened(written(tmp_path / "book.json", one_pair))
    assert report.found["fields of documents not kept"] == "sum (in 1 row)"


@pytest.mark.parametrize("header", ["query,docid,rating", "Query Text,Doc ID,Rating"])
def test_ratings_of_a_case(tmp_path, header):
    (tmp_path / "case.csv").write_text(f"{header}\ndesk,1,3\ndesk,2,\n")
    votes, _ = opened(tmp_path / "case.csv")
    assert [(one.query, one.product_id, one.grade, one.rater) for one in votes] == [
        ("desk", "1", "3", None),
        ("desk", "2", None, None),
    ]


def test_a_table_without_ratings(tmp_path):
    (tmp_path / "a.csv").write_text("query,docid\ndesk,1\n")
    with pytest.raises(BadInput, match="no column for the grade"):
        opened(tmp_path / "a.csv")


def test_a_table_without_queries(tmp_path):
    (tmp_path / "a.csv").write_text("name,docid,rating\ndesk,1,3\n")
    with pytest.raises(BadInput, match="has no columns query and docid; there are name, docid, rating"):
        opened(tmp_path / "a.csv")


@pytest.mark.skipif(not REAL.is_file(), reason="the book is not here")
def test_a_real_book(tmp_path):
    """Counted apart: 1,520 pairs, 1,217 votes of which 11 have no rating; 503 pairs with one vote, 357 with two."""
    options = JudgmentOptions(scale=read_scale("0-3"))
    report = import_judgments(REAL, tmp_path / "shop", "quepid", open_quepid, options)
    assert report.read == {"pairs": 1520, "votes": 1217}
    assert report.left_open == {BLANK_GRADE: 660, UNGRADED_PAIR: 669}
    assert report.refused == {"unrateable": 11}
    data = Dataset.load(tmp_path / "shop")
    assert (len(data.products), len(data.queries), len(data.judgments)) == (1095, 87, 851)
    assert Counter(len(row.labels) for row in data.judgments) == {1: 496, 2: 355}
    labels = Counter(round(3 * label) for row in data.judgments for label in row.labels)
    assert labels == {0: 457, 3: 396, 1: 215, 2: 138}
