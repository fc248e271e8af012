from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import Distribution
from serve.question import Answer
from serve.wire.results import NO_TEXT, RankOptions, ResultOptions, ranked, relevances, verdict


def answer(*bins: int, thresholds: dict[str, float] | None = None) -> Answer:
    return Answer("tiny", Distribution(np.eye(11)[list(bins)]), 0, 0, 0, thresholds or {})


def test_a_row_says_what_was_asked_for() -> None:
    half = Answer("tiny", Distribution(np.array([[0.5] + [0.0] * 9 + [0.5]])), 0, 0, 0, {})
    (plain,) = relevances(ResultOptions(), half)
    assert plain.model_dump(exclude_none=True) == {"mean": 0.5, "std": 0.5}
    (full,) = relevances(ResultOptions(return_distribution=True, return_quantiles=[0.25, 1]), half)
    assert full.quantiles == {"0.25": 0.0, "1.0": 1.0}
    assert full.distribution == [0.5] + [0.0] * 9 + [0.5]


def test_the_part_of_an_answer_is_what_the_whole_says() -> None:
    scored = Distribution(np.random.default_rng(0).dirichlet(np.ones(11), 9))
    whole = Answer("tiny", scored, 0, 0, 0, {})
    options = ResultOptions(return_distribution=True, return_quantiles=[0.1, 0.5])
    assert relevances(options, whole, slice(2, 6)) == relevances(options, whole)[2:6]


def test_tiers_begin_at_their_thresholds() -> None:
    rows = relevances(ResultOptions(), answer(10, 9, 8, 5, 4, 0, thresholds={"exact": 0.9, "close": 0.5}))
    assert [row.tier for row in rows] == ["exact", "exact", "close", "close", "irrelevant", "irrelevant"]
    (without,) = relevances(ResultOptions(), answer(9, thresholds={"exact": 0.5}))
    assert without.tier is None


def test_ties_keep_the_order_and_top_n_comes_last() -> None:
    rows = relevances(ResultOptions(), answer(5, 2, 9, 5))
    documents = ["a", "b", {"title": "c", "brand": None}, "d"]
    options = RankOptions(query="q", top_n=3, return_documents=True)
    results = ranked(options, documents, rows)
    assert [result.index for result in results] == [2, 0, 3]
    assert results[0].relevance_score == pytest.approx(0.9)
    assert [r.model_dump(exclude_none=True)["document"] for r in results] == [
        documents[2],
        {"text": "a"},
        {"text": "d"},
    ]
    above = ranked(options.model_copy(update={"min_score": 0.6}), documents, rows)
    assert [result.index for result in above] == [2]


@pytest.mark.parametrize("k", range(11))
def test_min_score_keeps_what_is_equal(k: int) -> None:
    """In float32, 0.9 is less than 0.9: a client who asks for 0.9 means what is printed as 0.9."""
    rows = relevances(ResultOptions(), answer(k))
    assert ranked(RankOptions(query="q", min_score=k / 10), ["a"], rows)
    assert not ranked(RankOptions(query="q", min_score=min(k / 10 + 1e-3, 1.0)), ["a"], rows) or k == 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=30), st.floats(0, 1), st.integers(1, 40))
def test_ranking_is_filter_sort_cut(bins: list[int], min_score: float, top_n: int) -> None:
    rows = relevances(ResultOptions(), answer(*bins))
    results = ranked(RankOptions(query="q", min_score=min_score, top_n=top_n), ["a"] * len(bins), rows)
    kept = [i for i in range(len(bins)) if np.float32(rows[i].mean) >= np.float32(min_score)]
    assert [r.index for r in results] == sorted(kept, key=lambda i: (-bins[i], i))[:top_n]


def test_what_was_not_scored_comes_last_and_says_why() -> None:
    given = Answer("tiny", Distribution(np.eye(11)[[0, 0, 9, 0]]), 0, 0, 0, {}, blanks=frozenset({0, 3}))
    results = ranked(RankOptions(query="q"), ["", "a", "b", " "], relevances(ResultOptions(), given))
    assert [result.index for result in results] == [2, 1, 0, 3]
    assert [result.note for result in results] == [None, None, NO_TEXT, NO_TEXT]
    assert [row.note for row in relevances(ResultOptions(), given, slice(2, 4))] == [None, NO_TEXT]


TIERS = {"exact": 0.8, "close": 0.4}


def test_a_least_tier_leaves_out_what_is_below_it_and_what_was_not_scored() -> None:
    given = Answer("tiny", Distribution(np.eye(11)[[3, 8, 5, 0]]), 0, 0, 0, TIERS, blanks=frozenset({3}))
    rows = relevances(ResultOptions(), given)
    indices = {
        tier: [one.index for one in ranked(RankOptions(query="q", min_tier=tier), ["a"] * 4, rows)]
        for tier in ("exact", "close", "irrelevant")
    }
    assert indices == {"exact": [1], "close": [1, 2], "irrelevant": [1, 2, 0, 3]}


def test_a_ranking_says_that_nothing_matches() -> None:
    options = RankOptions(query="q")
    assert verdict(options, answer(3, 0, thresholds=TIERS), []).no_good_match is True
    assert verdict(options, answer(3, 4, thresholds=TIERS), []).no_good_match is False, "also where it is not returned"
    assert verdict(options, answer(3, 4, thresholds=TIERS), [], slice(0, 1)).no_good_match is True
    assert verdict(options, answer(9), []).no_good_match is None
    blank = Answer("tiny", Distribution(np.eye(11)[[0]]), 0, 0, 0, {"exact": 0.0, "close": 0.0}, frozenset({0}))
    assert verdict(options, blank, []).no_good_match is True, "what has no text was not scored and matches nothing"


def test_how_sure_the_first_place_is_counts_what_is_returned() -> None:
    scored = Distribution(np.array([[0.5] + [0.0] * 8 + [0.5, 0.0], *np.eye(11)[[3, 4]]]))
    given = Answer("tiny", scored, 0, 0, 0, {})
    rows = relevances(ResultOptions(), given)
    for top_n, sure, near in ((3, 0.5, True), (1, 1.0, False)):
        options = RankOptions(query="q", top_n=top_n, return_rank_confidence=True)
        said = verdict(options, given, ranked(options, ["a"] * 3, rows))
        assert (said.rank_confidence, said.near_tie) == (sure, near)
    assert verdict(RankOptions(query="q"), given, []).rank_confidence is None
    nothing = verdict(RankOptions(query="q", return_rank_confidence=True), given, [])
    assert nothing.model_dump(exclude_none=True) == {}
