"""An answer as a table for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from gen_rerank.search.answers import answer_table, nothing_found, stages
from gen_rerank.search.building import change_index
from gen_rerank.search.hits import Hit
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.search import Search, SearchAnswer

from .conftest import products

BINS = (0.0,) * 10 + (1.0,)


def shown(*hits: Hit, width: int = 120) -> str:
    console = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(answer_table(SearchAnswer("oak [b]desk", hits, (), {}, 256)))
    return console.export_text()


def test_without_a_model_there_are_places_and_no_scores() -> None:
    one, two = products(a="Oak [red]desk\n", b="Lamp")
    text = shown(Hit(one, {"title": 1, "full": 2}), Hit(two, {"full": 1}))
    assert "oak [b]desk: 2 of 256 candidates" in text
    assert "Oak [red]desk" in text
    assert "Score" not in text
    assert "1, 2" in text
    assert "–, 1" in text
    assert "found: the place in the lists title, full" in text


def test_with_a_model_there_are_scores_tiers_and_bars() -> None:
    (one,) = products(a="Oak desk")
    text = shown(Hit(one, {"title": 1}, 0.91234, 0.05, "exact", BINS))
    assert "0.912" in text
    assert "0.050" in text
    assert "exact" in text
    assert "█" in text


def test_a_narrow_console_loses_no_id() -> None:
    one, two = products(p1234="Oak desk", p5678="Lamp")
    for width in (20, 30, 45):
        text = shown(
            Hit(one, {"title": 1}, 0.9, 0.05, "exact", BINS), Hit(two, {}, 0.1, 0.05, "exact", BINS), width=width
        )
        column = "".join(line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│"))
        assert "p1234p5678" in column


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("xyzzy", "no product has a word of this query"),
        ("the", "the query has only stop words (english), which are not looked for"),
        ("AND", "the query has only stop words (english), which are not looked for"),
        ("-", "the query has no words that could be looked for, only signs"),
    ],
)
def test_why_nothing_is_found(make_index: Callable[..., Path], query: str, words: str) -> None:
    index = ProductIndex.open(make_index(a="Oak desk"))
    assert nothing_found(Search(index).find(query), index) == words


def test_that_all_were_deleted_meanwhile_is_said(make_index: Callable[..., Path]) -> None:
    index = ProductIndex.open(make_index(a="Oak desk"))
    gone = Search(index, gone=set).find("oak")
    assert nothing_found(gone, index).startswith("all products that were found have been deleted")
    change_index(index.folder, delete=["a"])
    assert nothing_found(Search(index).find("oak"), index) == "the index holds no products"


def test_stages_are_milliseconds() -> None:
    assert stages(SearchAnswer("q", (), (), {"retrieve": 0.0018, "rerank": 1.25}, 0)) == (
        "retrieve 1.8 ms, rerank 1,250.0 ms"
    )


@pytest.mark.parametrize(
    ("nothing", "words"),
    [(True, "no good match: no product reaches close"), (False, "no product reaches the tier that was asked for")],
)
def test_what_a_least_tier_left_out_is_said(make_index: Callable[..., Path], nothing: bool, words: str) -> None:
    index = ProductIndex.open(make_index(a="Oak desk"))
    answer = SearchAnswer("oak", (), (), {}, 3, no_good_match=nothing, below=3)
    assert nothing_found(answer, index) == words
