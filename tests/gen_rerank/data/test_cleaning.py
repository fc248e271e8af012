from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank.data.cleaning import clean, mend, visible


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Oak desk, 5 < 6 & R&B", "Oak desk, 5 < 6 & R&B"),
        ("  two  spaces\n\tand a tab ", "  two  spaces\n\tand a tab "),
        ("<b>Laptop</b> sleeve", "Laptop sleeve"),
        ("Lap<wbr>top", "Laptop"),
        ("red<br>desk<BR/>oak</p><p class='x'>lamp", "red desk oak  lamp"),
        ('<a href="x">desk</a><img src=y>', "desk "),
        ("gap <5 mm, <Instruct>: x, a<b", "gap <5 mm, <Instruct>: x, a<b"),
        ("a<!-- not <b>this</b> - or - that -->b", "a b"),
        ("<script>if (a < b) alert()</script>desk<style>p {}</style>", " desk "),
        ("<![CDATA[<b>Oak</b> desk]]>", "Oak desk"),
        ("Tom &amp; Jerry &#38; &#x26; &lt;5 mm&nbsp;&eacute;", "Tom & Jerry & & <5 mm\u00a0é"),
        ('<o:p></o:p>Oak<st1:place w:st="on">desk</st1:place>', "Oakdesk"),
        ("<?xml version='1.0'?>Oak <![if !supportLists]>desk<![endif]>", " Oak  desk "),
        ("<svg><path d='M0'/></svg>Oak<math><mi>x</mi></math> desk", " Oak  desk"),
        ("Oak <img alt='5 > 4' src=\"a>b.png\"> desk <b style='a>b'>red</b>", "Oak   desk red"),
        ("<b don't>Oak</b> desk", "Oak desk"),
        ("Polo <S>, <M> and <A> to <B>", "Polo <S>, <M> and <A> to <B>"),
        ("<B>Oak</B> <b>desk", "Oak desk"),
        ("AT&T; &bogus; &copyright; &amp", "AT&T; &bogus; &copyright; &amp"),
        ("don&#146;t &#xD83D; &#1114112;", "don’t \ufffd \ufffd"),
        ("&lt;p&gt;Oak&lt;/p&gt; desk", " Oak  desk"),
        ("&amp;lt;b&amp;gt;Oak&amp;lt;/b&amp;gt;", "Oak"),
        ("Lap\u00adtop slee\u200bve\ufeff \u202eoak\u2066", "Laptop sleeve oak"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("\u0645\u200c\u200d\u0645", "\u0645\u200c\u0645"),
        ("\u0645\u200c \u0939\u0940\u200d", "\u0645 \u0939\u0940"),
        ("\u0d28\u0d4d\u200d", "\u0d28\u0d4d\u200d"),
        ("\ue000Oak\ufffc desk\u2800", " Oak desk "),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("o\u200dak\u200c", "oak"),
        ("oak\0desk\x07\x9f", "oak desk  "),
        ("Lamp \ud83d", "Lamp ?"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\u200b\u200d\ufeff", ""),
    ],
)
def test_what_is_left_of_a_text(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


MARKUP = "< > </ <b> b> <br & &amp; amp; lt; #38; &#3 <!-- --> <script> </script> <![CDATA[ ]]> oak 5"
UNSEEN = "\u200b \u200c \u200d \u0645 \U0001f468 \0 \ud83d \ude00"
PIECES = [" ", *MARKUP.split(), *UNSEEN.split(" ")]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text(st.characters()))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert cleaned.encode("utf-8") == cleaned.encode("utf-8", "replace")
    assert visible(mend(cleaned)) == cleaned


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="<&")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) is text


def test_of_a_text_no_more_is_read_than_a_prompt_could_ever_show() -> None:
    assert clean("oak " * 2**20) == "oak " * (2**20 // 4)


def test_markup_that_is_nested_on_purpose_ends() -> None:
    assert "&" not in clean("&" + "amp;" * 10_000 + "lt;b>")
    assert "<" not in clean("<" * 10_000 + "b>" * 10_000)


@pytest.mark.parametrize(
    "unit", ["<", "<b ", "<!--", "<script>", "<![CDATA[", "&amp;", "\u200d", "\u0645\u200d", "&#3&#56;;", "<!-", "]]"]
)
def test_hostile_text_costs_as_much_as_it_is_long(unit: str) -> None:
    """Were an expression quadratic, this megabyte would take hours."""
    assert len(clean(unit * (2**20 // len(unit)))) <= 2**20
