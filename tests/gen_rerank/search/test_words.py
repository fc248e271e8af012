"""What becomes one word, in texts and in queries alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput
from gen_rerank.data.cleaning import clean
from gen_rerank.search.words import LANGUAGES, NO_LANGUAGE, analyzer, spelled, words_of

NONE = analyzer(NO_LANGUAGE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('16"', "16 inch"),
        ("16''", "16 inches"),
        ("16″", "16-inch"),
        ("16 in.", '16".'),
        ("128gb", "128 GB"),
        ("128GB", "128 gigabytes"),
        ("2,5 kg", "2.5 kilos"),
        ("5'", "5 ft"),
        ("60W", "60 watts"),
        ("2x4", "2 x 4"),
        ("2×4", "2*4"),
        ('16"x20"', "16 in x 20 in"),
        ('2"x4"x8\'', "2 in x 4 in x 8 ft"),
        ("10'x12'", "10 feet x 12 feet"),
        ("10’x12’", "10' × 12'"),
        ("10ftx12ft", "10 FT X 12 FT"),
        ("30cmx40cm", "30 cm * 40 cm"),
        ("30-cm x40cm", "30cm x 40cm"),
        ("2x.5", "2 x 0.5"),
        (".5 in", "0.5 inch"),
        ("(.5)", "0.5"),
        ('1½"', '1 1/2"'),
        ("½ in", "1/2 in"),
        ("75’’", '75"'),
        ('16"wide', "16 inch wide"),
        ("5'10\"", "5 ft 10 in"),
        ("1.299,50", "1,299.50"),
        ("1.234.567,8", "1234567.8"),
        ("r13", "R-13"),
        ("iphone-15", "iphone15"),
        ("WD-40", "wd40"),
        ("1,299", "1299"),
        ("12,345,678", "12345678"),
        ("pack of 6", "pack of 6"),
        ("6 pcs", "6 count"),
        ("Café", "cafe"),
        ("CAFE\u0301", "café"),
        ("S&amp;P", "s&p"),
        ("ｉＰｈｏｎｅ １５", "iphone 15"),
        ("5㎝", "5 cm"),
        ("lap\u00adtop", "laptop"),
    ],
)
def test_two_ways_to_write_one_thing_meet(one: str, other: str) -> None:
    assert words_of(one, NONE) == words_of(other, NONE) != []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iphone15", ["iphone15", "iphone", "15"]),
        ("iphone 15", ["iphone", "15"]),
        ("2 in 1 laptop", ["2", "in", "1", "laptop"]),
        ("3-in-1", ["3", "in", "1"]),
        ("2.5.1 in", ["2.5.1", "in"]),
        ("R-13", ["r13", "r", "13"]),
        ("pack-of-6", ["pack", "of", "6"]),
        ("10²", ["10", "2"]),
        ("5 m²", ["5", "m2", "m", "2"]),
        ("H₂O", ["h2o"]),
        ("AT&T phone", ["att", "at", "t", "phone"]),
        ("H&amp;M", ["hm", "h", "m"]),
        ("bed&bath", ["bed", "bath"]),
        ("the 90's", ["the", "90", "s"]),
        ("model.5", ["model", "5"]),
        ("1.299", ["1.299"]),
        ("12-gauge", ["12", "gauge"]),
        ("3/4 in. pipe", ["3", "4inch", "4", "inch", "pipe"]),
        ("1,2,3", ["1", "2", "3"]),
        ("2,5", ["2.5"]),
        ("v1.2.3", ["v1", "v", "1.2.3"]),
        ("usb-c", ["usb", "c"]),
        ("16inchwide", ["16inchwide"]),
        ("x16 in", ["x16", "x", "16", "in"]),
        ("手机 case", ["手", "机", "case"]),
        ("AND OR NOT ( ) ~ * ^ \\ title:oak", ["and", "or", "not", "title", "oak"]),
        ("😀🛋️", []),
        ("ספה oak", ["ספה", "oak"]),
        ("oak\0desk", ["oak", "desk"]),
        ("", []),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert words_of(text, NONE) == words


def test_a_language_has_stop_words_and_stems() -> None:
    assert words_of("The tables and desks", analyzer("english")) == ["tabl", "desk"]
    assert words_of("Die Tische und der Stuhl", analyzer("german")) == ["tisch", "stuhl"]
    assert words_of("The tables", NONE) == ["the", "tables"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_there(language: str) -> None:
    one, other = (words_of(text, analyzer(language)) for text in ("oak 16 inch", 'OAK 16"'))
    assert one == other
    assert "16" in one


def test_a_language_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadInput, match=r"no language 'klingon'; choose one of none, arabic, danish, .*turkish$"):
        analyzer("klingon")


PIECES = st.sampled_from(
    [
        '16"',
        "2.5",
        "1,299",
        "5 ft",
        "128gb",
        "oak",
        "iphone15",
        "手",
        "٣",
        "2x4",
        "3 lb",
        "2 in 1",
        '16"x20"',
        ".5 ft",
        "R-13",
        "1½",
        "1.299,00",
        "5'10\"",
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_neighbours_change_no_words(pieces: list[str]) -> None:
    assert words_of(" ".join(pieces), NONE) == [word for piece in pieces for word in words_of(piece, NONE)]


@given(st.text(max_size=60))
def test_any_text_becomes_words_and_no_digit_is_lost(text: str) -> None:
    words = words_of(text, NONE)
    assert all(word and not word.isspace() for word in words)
    assert {character for character in clean(text) if character in "0123456789"} <= set("".join(words))


@given(st.text(max_size=40))
def test_a_text_without_digits_and_of_spaced_scripts_stays_as_it_is(text: str) -> None:
    plain = "".join(character for character in clean(text) if character.isascii() and not character.isdigit())
    plain = plain.replace("&", "")
    assert spelled(plain) == plain
