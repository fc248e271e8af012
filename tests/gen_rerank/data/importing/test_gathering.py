"""Votes become judgments: labels in the order of raters, means by hand, the rest refused with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from gen_rerank.data.importing.existing import DataThere
from gen_rerank.data.importing.gathering import BLANK_GRADE, Gathering, query_id_of
from gen_rerank.data.importing.grading import read_scale
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.splitting import SplitPlan
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.records import Judgment, Query

VOTE = Vote("votes.csv", 2, "p1", query="oak desk", grade=3, product={"title": "Oak desk"})


def gathered(votes: Iterable[Vote], there: DataThere | None = None) -> Gathering:
    found = Gathering(there or DataThere(), read_scale("0-3"), ImportReport("votes.csv", "judgments"), "name raters")
    for vote in votes:
        found.add(vote)
    return found


def refusals(found: Gathering) -> list[tuple[str, int, str]]:
    return [(row.kind, row.line, row.reason) for row in found.report.first_refused]


def test_raters_votes_are_labels_in_the_order_of_their_names():
    grades = {"rater10": 0, "rater2": 3, "Ann": 3, "": 1}
    found = gathered(replace(VOTE, grade=grade, rater=rater) for rater, grade in grades.items())
    (judgment,) = found.judgments()
    assert judgment.labels == (1.0, 1.0, 0.0, 1 / 3)
    assert judgment.relevance == pytest.approx((1 + 1 + 0 + 1 / 3) / 4)
    assert judgment.query_id == query_id_of("oak  desk")
    assert found.products["p1"].title == "Oak desk"


def test_a_grade_of_nobody_has_no_labels():
    assert list(gathered([VOTE]).judgments()) == [
        Judgment(query_id=query_id_of("oak desk"), product_id="p1", relevance=1)
    ]


def test_a_pair_that_nobody_graded_keeps_its_query_and_its_product():
    found = gathered([replace(VOTE, grade=None), replace(VOTE, product_id="p2", line=3)])
    assert [row.product_id for row in found.judgments()] == ["p2"]
    assert list(found.products) == ["p1", "p2"]


def test_a_row_with_several_votes_is_refused_once_for_its_product():
    votes = [replace(VOTE, product_id="gone", rater=rater) for rater in ("Ann", "Bob")]
    found = gathered([*votes, replace(VOTE, product_id="gone", grade=None)], DataThere(product_ids={"p1"}))
    assert [(kind, line) for kind, line, _ in refusals(found)] == [("unknown product", 2)]
    assert found.report.left_open == {}


def test_words_for_nothing_are_blank_grades_unless_the_scale_has_them():
    words = ["NaN", "NULL", float("nan"), "None"]
    votes = [replace(VOTE, grade=word, line=line) for line, word in enumerate(words, start=2)]
    found = gathered([*votes, replace(VOTE, grade=None, blanks=3)])
    assert (found.report.left_open, refusals(found)) == ({BLANK_GRADE: 7}, [])
    scaled = Gathering(DataThere(), read_scale("None=0,Exact=1"), ImportReport("votes.csv", "judgments"))
    for vote in votes[2:]:
        scaled.add(vote)
    assert [row.relevance for row in scaled.judgments()] == [0.0]
    assert scaled.report.left_open == {BLANK_GRADE: 1}


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({}, "pair given twice", "already given in votes.csv:2; that is kept; name raters"),
        ({"grade": 1}, "pair given twice", "votes.csv:2 with the grade 3, here 1; that is kept; name raters"),
        ({"grade": 4}, "grade", "the grade 4 is outside of the scale 0-3"),
        ({"grade": "good"}, "grade", "a plain number"),
        ({"query": " "}, "query", "the query has no text"),
        ({"query": ["a"]}, "query", "one text is needed"),
        ({"product_id": {}}, "product id", "one text is needed"),
        ({"product_id": "p9", "product": {}}, "product without text", "import the catalog into the folder first"),
        ({"product_id": "p9", "product": {"title": "<br>"}}, "product", "title of product 'p9' has no text"),
        ({"query_id": "q7", "query": None}, "unknown query", "query_id 'q7' is not among the queries"),
        ({"product_id": "p9", "split": "first"}, "split", "there is no split 'first'"),
    ],
)
def test_a_vote_that_cannot_be_used_is_refused_with_its_line(change, kind, reason):
    found = gathered([VOTE, replace(VOTE, line=3, **change)])
    ((given, line, said),) = refusals(found)
    assert (given, line) == (kind, 3)
    assert reason in said
    assert len(list(found.judgments())) == 1
    assert list(found.products) == ["p1"]


def test_a_rater_has_one_vote_a_pair():
    found = gathered([replace(VOTE, rater="Ann"), replace(VOTE, rater="Ann", grade=0, line=3)])
    assert refusals(found) == [("rater voted twice", 3, "'Ann' already graded this pair")]


def test_one_id_for_two_texts_and_two_splits_of_a_query_are_refused():
    first = replace(VOTE, query_id="q", split="train")
    found = gathered(
        [first, replace(first, product_id="p2", query="sofa", line=3), replace(first, product_id="p3", split="test")]
    )
    assert [kind for kind, _, _ in refusals(found)] == ["query with two texts", "split"]


def test_prices_that_cannot_be_read_are_left_out():
    found = gathered([replace(VOTE, product={"title": "Desk", "price": "19 EUR", "available": "soon"})])
    assert found.products["p1"].price is None
    assert {kind: change.count for kind, change in found.report.changes.items()} == {
        "price left out": 1,
        "available left out": 1,
    }


def test_a_product_without_an_id_gets_that_of_its_text():
    votes = [replace(VOTE, product_id=None, product={"title": title}) for title in ("Desk", "Lamp")]
    found = gathered([*votes, replace(votes[0], query="other")])
    assert len(found.products) == 2
    assert gathered(votes[1:]).products.keys() <= found.products.keys()


def test_the_folders_catalog_and_queries_are_used():
    query = Query(query_id="q1", text="oak desk", split="test", tags=("wood",))
    there = DataThere(frozenset({"p1"}), (query,))
    found = gathered(
        [
            replace(VOTE, tags=("new",), split="train"),
            replace(VOTE, product_id="p2", line=3),
            replace(VOTE, query="Oak Desk", line=4),
            replace(VOTE, query=None, query_id="q1", line=5),
        ],
        there,
    )
    assert not found.products
    assert [row.query_id for row in found.judgments()] == ["q1", query_id_of("Oak Desk")]
    assert [(kind, line) for kind, line, _ in refusals(found)] == [("unknown product", 3), ("pair given twice", 5)]
    first, second = found.split_queries(SplitPlan((1.0, 0.0, 0.0)), needs_as_tags=False)
    assert first == query.model_copy(update={"tags": ("wood", "new")})
    assert (second.text, second.split) == ("Oak Desk", "test")  # it reads the same


def test_ids_that_a_spreadsheet_made_fractions_of_are_those_of_a_feed():
    query = Query(query_id="q1.0", text="lamp", split="test")
    there = DataThere(frozenset({"1", "2", "3.0"}), (query,))
    votes = [replace(VOTE, product_id=given, query_id="7.0") for given in ("1.0", 2.0, "3.0", "4.0")]
    found = gathered([*votes, replace(VOTE, product_id="2", query=None, query_id="q1.0")], there)
    assert [(row.query_id, row.product_id) for row in found.judgments()] == [
        ("7", "1"),
        ("7", "2"),
        ("7", "3.0"),
        ("q1.0", "2"),
    ]
    assert [reason for _, _, reason in refusals(found)] == ["product_id '4' is not among the folder's products"]
    assert found.report.changes["id written as a whole number"].count == 4


def test_of_1_and_1_0_one_product_comes():
    found = gathered([replace(VOTE, product_id="1.0"), replace(VOTE, product_id=1, query="lamp")])
    assert list(found.products) == ["1"]


def test_a_split_of_the_source_is_kept_and_others_are_drawn():
    votes = [replace(VOTE, query=f"query {i}", split="test" if i < 5 else None) for i in range(10)]
    rows = gathered(votes).split_queries(SplitPlan((1.0, 0.0, 0.0)), needs_as_tags=False)
    assert [row.split for row in rows] == ["test"] * 5 + ["train"] * 5


def test_equal_queries_in_two_splits_of_the_source_are_kept_and_said():
    found = gathered([replace(VOTE, split="train"), replace(VOTE, query="OAK desk", split="test")])
    rows = found.split_queries(SplitPlan(), needs_as_tags=False)
    assert [row.split for row in rows] == ["train", "test"]
    assert found.report.found["in several splits"] == "1 query texts, as given: oak desk"


@pytest.mark.parametrize("as_tags", [False, True])
def test_information_needs_lie_beside_or_are_tags(as_tags):
    found = gathered([replace(VOTE, need="For my office. "), replace(VOTE, product_id="p2", need="For my office.")])
    (query,) = found.split_queries(SplitPlan(), needs_as_tags=as_tags)
    assert query.tags == (("For my office.",) if as_tags else ())
    assert [(row.query_id, row.need) for row in found.needs()] == [(query.query_id, "For my office.")]
