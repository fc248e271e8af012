"""One list: what a query asks of a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gen_rerank.search.fields import key_of
from gen_rerank.search.index import open_words
from gen_rerank.search.lists import best_keys, keys_of_rows, list_query
from gen_rerank.search.settings import IndexSettings
from gen_rerank.search.synonyms import Synonyms

Ask = Callable[..., list[str]]


@pytest.fixture
def ask(make_index: Callable[..., Path]) -> Callable[..., Ask]:
    """Indexes titles and returns a function that gives the ids of a list."""

    def indexed(**titles: str) -> Ask:
        words = open_words(make_index(IndexSettings("none"), **titles), IndexSettings("none"))
        names = {key_of(name): name for name in titles}

        def found(*query: str, synonyms: str = "", limit: int = 99) -> list[str]:
            asked = list_query(words.searcher(), words.schema, "title", query, Synonyms.of(synonyms, str.split))
            return [names[key] for key in best_keys(words.searcher(), asked, limit)]

        return found

    return indexed


def test_more_of_the_words_and_rarer_ones_come_first(ask: Callable[..., Ask]) -> None:
    found = ask(a="oak desk", b="oak lamp", c="oak sofa", d="desk")
    assert found("oak", "desk")[0] == "a"
    assert found("lamp", "oak")[0] == "b"
    assert found("pine") == []
    assert found() == []
    assert len(found("oak", limit=2)) == 2


def test_a_word_that_almost_no_product_has_may_be_a_slip(ask: Callable[..., Ask]) -> None:
    found = ask(a="kettle", b="television", c="oak", d="telephone")
    assert found("kettel") == ["a"]  # two letters that changed places are one slip
    assert found("ketle") == ["a"]
    assert found("kttle") == ["a"]
    assert found("kttel") == []  # two slips are too many for a short word
    assert found("telivison") == ["b"]
    assert found("aok") == []  # of three letters
    assert found("123457") == []
    long = ask(a="b" * 41, b="b" * 39)
    assert long("b" * 38 + "c") == ["b"]
    assert long("b" * 40 + "c") == []  # the neighbours of a word that long are not looked for


def test_what_is_met_exactly_is_before_a_slip_and_a_usual_word_is_no_slip(ask: Callable[..., Ask]) -> None:
    assert ask(a="cable", b="table")("table") == ["b", "a"]
    assert "a" not in ask(a="cable", b="table", c="table", d="table")("table")


def test_a_word_counts_once_however_often_it_is_asked(ask: Callable[..., Ask]) -> None:
    found = ask(a="oak", b="elm elm", c="oak oak oak")
    assert found("oak", "oak", "elm") == found("oak", "elm")


def test_a_synonym_counts_as_the_word_does(ask: Callable[..., Ask]) -> None:
    found = ask(a="sofa", b="couch", c="flat screen", d="screen flat", e="sofa couch")
    assert set(found("sofa", synonyms="sofa, couch")) == {"a", "b", "e"}
    assert found("tv", synonyms="tv => flat screen") == ["c"]
    assert set(found("flat", "screen", synonyms="flat screen => couch")) == {"b", "c", "d", "e"}
    assert found("a", synonyms="a => b\nb => couch") == []  # a meaning of a meaning is none


@pytest.mark.parametrize("rows", [[], [7, 8, 9]])
def test_rows_that_no_product_names_find_nothing(make_index: Callable[..., Path], rows: Sequence[int]) -> None:
    words = open_words(make_index(a="oak"), IndexSettings())
    assert keys_of_rows(words.searcher(), words.schema, rows, 2) == {}
