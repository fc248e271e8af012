"""Splits: drawn by text and seed alone, queries that read the same together, shares as near as whole queries allow."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.importing.splitting import SPLITS, SplitPlan, folded, read_split
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput

texts = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=12)


def test_shares_are_kept_to_the_query():
    drawn = SplitPlan().draw(f"query {i}" for i in range(200))
    assert Counter(drawn.values()) == {"train": 160, "validation": 20, "test": 20}
    assert Counter(SplitPlan((0.5, 0.0, 0.5)).draw("abc").values()) == {"train": 2, "test": 1}


@pytest.mark.parametrize(("queries", "numbers"), [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (5, [3, 1, 1])])
def test_a_split_is_empty_only_where_there_are_too_few_queries(queries, numbers):
    found = Counter(SplitPlan().draw(f"query {i}" for i in range(queries)).values())
    assert sum(found.values()) == queries
    assert sorted(found[split] > 0 for split in SPLITS) == sorted(number > 0 for number in numbers)


@given(texts, st.integers(0, 5), st.randoms())
def test_the_order_of_the_queries_does_not_matter(given_texts, seed, random):
    plan = SplitPlan(seed=seed)
    shuffled = list(given_texts)
    random.shuffle(shuffled)
    assert plan.draw(given_texts) == plan.draw(shuffled)
    assert set(plan.draw(given_texts)) == {folded(text) for text in given_texts}


def test_another_seed_draws_other_splits():
    names = [f"query {i}" for i in range(50)]
    assert SplitPlan(seed=0).draw(names) != SplitPlan(seed=1).draw(names)


def test_what_is_known_stays():
    known = {"desk": "test", "lamp": "test"}
    drawn = SplitPlan((1.0, 0.0, 0.0)).draw(["Desk", "lamp ", "sofa"], known)
    assert drawn == {**known, "sofa": "train"}


@pytest.mark.parametrize(
    "text", ["Laptop sleeve", "laptop  SLEEVE ", "lap\u00adtop sleeve", "laptop\u200b sleeve", "laptop\u00a0sleeve"]
)
def test_case_white_space_and_invisible_characters_make_no_other_query(text):
    assert folded(text) == "laptop sleeve"


@pytest.mark.parametrize(
    "written", ["", "0.8", "0.8,0.2", "0.5,0.5,0.5", "1,-1,1", "a,b,c", "0.8,0.1,0.1,0", "nan,0,1"]
)
def test_shares_that_are_none(written):
    with pytest.raises(BadInput, match="three shares that add up to 1"):
        SplitPlan.read(written)


def test_usual_names_of_splits():
    assert [read_split(name) for name in ("Dev", "train", "VAL", "testing", None, " ")] == [
        "validation", "train", "validation", "test", None, None,
    ]  # fmt: skip
    with pytest.raises(BadValue, match="no split 'eval7'"):
        read_split("eval7")
