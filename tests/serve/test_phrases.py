from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.errors import BadInput
from serve.phrases import Phrase, bare

BUY = Phrase.of("Would a shopper buy {product}?")
SEARCH = Phrase.of("Does it answer the search: {query}")


@pytest.mark.parametrize("word", ["product", "document"])
def test_a_phrase_stands_around_a_product(word: str) -> None:
    assert Phrase.of(f"Is it relevant: {{{word}}}. Say yes or no.") == Phrase(
        "product", "Is it relevant:", ". Say yes or no."
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("Is it relevant?", "write {product} or {query} once"),
        ("{product} or {document}", "write {product} or {query} once"),
        ("{query}: {product}", "write {product} or {query} once"),
        (" {product} ", "there are no words around it"),
    ],
)
def test_what_is_no_phrase(template: str, words: str) -> None:
    with pytest.raises(BadInput) as refused:
        Phrase.of(template)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("Would a shopper buy Oak desk?", "Oak desk"),
        ("  Would a shopper buy\nOak desk ?\n", "Oak desk"),
        ("Would a shopper buy?", ""),
        ("Would a shopper", None),
        ("would a shopper buy Oak desk?", None),
        ("Oak desk", None),
    ],
)
def test_what_stands_inside(text: str, inside: str | None) -> None:
    assert BUY.inside(text) == inside


def test_the_phrase_with_the_most_words_counts() -> None:
    longer = Phrase.of("Would a shopper buy {product}? Say yes or no: do you?")
    text = "Would a shopper buy Oak desk? Say yes or no: do you?"
    for phrases in ((BUY, longer), (longer, BUY)):
        assert bare(text, "product", phrases) == "Oak desk"


def test_a_phrase_is_of_products_or_of_queries() -> None:
    text = "Does it answer the search: oak desk"
    assert bare(text, "query", (BUY, SEARCH)) == "oak desk"
    assert bare(text, "product", (BUY, SEARCH)) == text


@given(st.text().map(str.strip))
def test_what_was_put_in_comes_out(text: str) -> None:
    assert Phrase.of("Is this {product} relevant?").inside(f"Is this {text} relevant?") == text
