"""Lines of synonyms: what they mean, in which direction, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.search.synonyms import Synonyms, read_synonyms_text
from gen_rerank.search.words import analyzer, words_of


def read(text: str) -> Synonyms:
    return Synonyms.of(text, str.split, "words.txt")


def test_commas_go_both_ways_and_an_arrow_one_way() -> None:
    assert read("sofa, couch, settee\ntelly, box => television, tv").meanings == {
        ("sofa",): (("couch",), ("settee",)),
        ("couch",): (("sofa",), ("settee",)),
        ("settee",): (("sofa",), ("couch",)),
        ("telly",): (("television",), ("tv",)),
        ("box",): (("television",), ("tv",)),
    }


def test_remarks_and_empty_lines_say_nothing_and_a_sharp_is_a_letter_elsewhere() -> None:
    assert read("# furniture\n\n   \n  # more\nc#, csharp\n").meanings == {
        ("c#",): (("csharp",),),
        ("csharp",): (("c#",),),
    }


def test_lines_about_one_word_come_together_and_nothing_means_itself() -> None:
    assert read("a, b\na => c, b\nd, d").meanings == {("a",): (("b",), ("c",)), ("b",): (("a",),)}


def test_a_circle_is_one_step_long() -> None:
    circle = read("a => b\nb => c\nc => a")
    assert [meant for _, _, meant in circle.found(["a"])] == [(("b",),)]


def test_several_words_are_found_where_they_stand_together() -> None:
    known = read("flat screen => tv\nscreen => display")
    assert list(known.found(["a", "flat", "screen", "here"])) == [(1, 3, (("tv",),)), (2, 3, (("display",),))]
    assert list(known.found(["flat"])) == []


def test_they_are_words_of_the_language() -> None:
    english = analyzer("english")
    known = Synonyms.of("Sofas, the Couches", lambda text: words_of(text, english))
    assert known.meanings == {("sofa",): (("couch",),), ("couch",): (("sofa",),)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ok, fine\nsofa", r"words\.txt:2: 'sofa' means nothing else; write its synonyms behind commas"),
        ("a => b => c", r"words\.txt:1: 'a => b => c' is no line of synonyms; write `sofa, couch`"),
        ("=> b", "is no line of synonyms"),
        ("a =>", "is no line of synonyms"),
        ("a, , b", "is no line of synonyms"),
    ],
)
def test_a_line_that_says_nothing_is_named(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read(text)


def test_a_file_is_text_in_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffsofa, couch\r\n".encode())
    assert read(read_synonyms_text(file)).meanings == {("sofa",): (("couch",),), ("couch",): (("sofa",),)}
    file.write_bytes("Möbel, Sofa".encode("latin-1"))
    with pytest.raises(BadInput, match="save it as UTF-8"):
        read_synonyms_text(file)
    with pytest.raises(
        BadInput, match=r"none\.txt: cannot be read \(No such file or directory\); synonyms are lines such"
    ):
        read_synonyms_text(tmp_path / "none.txt")
