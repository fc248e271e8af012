"""Usual names of columns are recognised, whatever their case and signs; people overrule them."""

from __future__ import annotations

import pytest

from gen_rerank import BadInput
from gen_rerank.data.formats.fields import product_fields, vote_columns


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["query", "docid", "rating"], {"query": "query", "product": "docid", "grade": "rating"}),
        (["Query Text", "Doc ID", "Rating"], {"query": "Query Text", "product": "Doc ID", "grade": "Rating"}),
        (["id", "search_term", "product_uid", "relevance"],
         {"query": "search_term", "product": "product_uid", "grade": "relevance"}),
        (["query_id", "asin", "label", "annotator", "split", "tags", "information_need"],
         {"query_id": "query_id", "product": "asin", "grade": "label", "rater": "annotator", "split": "split",
          "tags": "tags", "need": "information_need"}),
    ],
)  # fmt: skip
def test_usual_names(columns, found):
    assert vote_columns(columns, {}, "votes.csv") == found


def test_people_overrule_names():
    assert vote_columns(["q", "a", "b"], {"product": "a", "grade": "b"}, "votes.csv") == {
        "query": "q", "product": "a", "grade": "b",
    }  # fmt: skip
    with pytest.raises(BadInput, match="no list of judgments has a 'colour'"):
        vote_columns(["a"], {"colour": "a"}, "votes.csv")
    with pytest.raises(BadInput, match="--map grade=c: no such column; there are a, b"):
        vote_columns(["a", "b"], {"grade": "c"}, "votes.csv")


def test_named_columns_are_compared_as_all_names_are_and_are_one_thing_each():
    there = ["Such Wort", "SUCHWORT", "suchwort", "query", "docid", "grade"]
    assert vote_columns(there, {"query": "such-wort"}, "votes.csv")["query"] == "Such Wort"
    assert vote_columns(there, {"query": "suchwort"}, "votes.csv")["query"] == "suchwort"
    assert vote_columns(there, {"grade": "query"}, "votes.csv") == {"product": "docid", "grade": "query"}
    with pytest.raises(BadInput, match="--map: the column 'grade' is named for two things; name one for each"):
        vote_columns(there, {"query": "grade", "grade": "Grade"}, "votes.csv")


def test_fields_of_a_product():
    said = {"name": "X1", "title": "Lamp", "supplier": "Lux", "product_type": "Lamps", "color": "red",
            "attributes": {"width": "9 cm"}}  # fmt: skip
    known = {"title": "Lamp", "category": "Lamps", "attributes": [("width", "9 cm"), ("color", "red")]}
    assert product_fields(said, keep_rest=False) == known
    kept = product_fields(said, keep_rest=True)
    assert kept["attributes"] == [("width", "9 cm"), ("color", "red"), ("name", "X1"), ("supplier", "Lux")]
