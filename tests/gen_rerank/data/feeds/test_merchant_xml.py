"""Merchants' feeds: RSS and Atom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gen_rerank.data.feeds.merchant_xml import merchant_rows
from gen_rerank.data.feeds.rows import FeedRow, UnreadRow
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.errors import BadInput

GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'
RSS = f"""<?xml version="1.0" encoding="%s"?>
<rss version="2.0" {GOOGLE}><channel><title>A shop</title>
<item><g:id>1</g:id><title>Öak desk</title><description><![CDATA[<b>Big</b> &amp; old]]></description>
 <g:product_type>Home</g:product_type><g:product_type>Desks</g:product_type>
 <g:shipping><g:country>DE</g:country><g:price>5 EUR</g:price></g:shipping>
 <g:product_detail><g:section_name>Size</g:section_name><g:attribute_name>Width</g:attribute_name>
 <g:attribute_value>5 cm</g:attribute_value></g:product_detail></item>
<item><g:id>2</g:id><title>Lamp</title></item>
</channel></rss>"""


def rows_of(folder: Path, raw: bytes) -> list[FeedRow | UnreadRow]:
    path = folder / "feed.xml"
    path.write_bytes(raw)
    return list(merchant_rows(FeedSource.recognise(path)))


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "UTF-16"])
def test_rss_with_google_s_names(tmp_path: Path, encoding: str) -> None:
    first, second = rows_of(tmp_path, (RSS % encoding).encode(encoding))
    assert first == FeedRow(
        3,
        {
            "g:id": "1",
            "title": "Öak desk",
            "description": "<b>Big</b> &amp; old",
            "g:product_type": ["Home", "Desks"],
            "g:shipping": {"g:country": "DE", "g:price": "5 EUR"},
            "attributes": [{"name": "Width", "value": "5 cm"}],
        },
    )
    assert second == FeedRow(8, {"g:id": "2", "title": "Lamp"})


def test_atom_with_markup_and_links(tmp_path: Path) -> None:
    entry = (
        '<entry><id>http://a/1</id><g:id>1</g:id><link href="http://a"/>'
        "<summary><div>Big <b>oak</b></div></summary></entry>"
    )
    (row,) = rows_of(tmp_path, f'<feed xmlns="http://www.w3.org/2005/Atom" {GOOGLE}>{entry}</feed>'.encode())
    assert isinstance(row, FeedRow)
    assert row.cells["id"] == "http://a/1"
    assert row.cells["g:id"] == "1"
    assert row.cells["link"] == "http://a"
    assert row.cells["summary"].split() == ["Big", "oak"]


ATOM = "http://www.w3.org/2005/Atom"


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        (
            f'<a:feed xmlns:a="{ATOM}" xmlns:m="http://base.google.com/ns/1.0"><a:entry><a:id>http://a/1</a:id>'
            "<m:id>1</m:id><a:title>Big <b>oak</b></a:title><m:price>5 EUR</m:price></a:entry></a:feed>",
            {"id": "http://a/1", "g:id": "1", "title": "Big  oak ", "g:price": "5 EUR"},
        ),
        (  # declared on the item itself, with another form of the address; outside of it the prefix is its own again
            '<rss><item xmlns:x="https://base.google.com/ns/1.0/"><x:id>1</x:id>'
            '<x:product_detail xmlns:x="http://base.google.com/ns/1.0"><x:attribute_name>Width</x:attribute_name>'
            "<x:attribute_value>5</x:attribute_value></x:product_detail></item></rss>",
            {"g:id": "1", "attributes": [{"name": "Width", "value": "5"}]},
        ),
        (  # one prefix, two namespaces
            f'<rss xmlns:g="{ATOM}"><item><g:id>1</g:id><c xmlns:g="http://base.google.com/ns/1.0"><g:id>2</g:id></c>'
            "<g:title>Desk</g:title></item></rss>",
            {"id": "1", "c": {"g:id": "2"}, "title": "Desk"},
        ),
        (  # Google's under another prefix, and its usual one for something else
            '<rss xmlns:x="http://base.google.com/ns/1.0" xmlns:g="http://example.com/other"><item><x:id>1</x:id>'
            "<g:price>99.00</g:price><x:price>10.00</x:price><g:brand>Wrong</g:brand></item></rss>",
            {"g:id": "1", "other-g:price": "99.00", "g:price": "10.00", "other-g:brand": "Wrong"},
        ),
        (  # not known, and not declared
            '<rss xmlns:y="http://example.com/y"><item><y:id>1</y:id><g:id>2</g:id></item></rss>',
            {"y:id": "1", "g:id": "2"},
        ),
    ],
    ids=["atom", "item", "two", "taken", "other"],
)
def test_a_namespace_counts_and_not_its_prefix(tmp_path: Path, text: str, cells: dict[str, Any]) -> None:
    assert rows_of(tmp_path, text.encode()) == [FeedRow(1, cells)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<rss>\n<item><title>R&B</title></item></rss>", r"feed\.xml:2: not well-formed XML"),
        ("<rss><item><title>Desk</title></item>", "not well-formed XML .*cut off: fetch it again"),
        ("<rss><item><title>Desk</ti", "cut off: fetch it again"),
        ("<rss><item><![CDATA[Desk", "cut off: fetch it again"),
        ("<html><body>Not found</body></html>", "XML without an <item> or <entry>"),
        ('<!DOCTYPE r [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><rss><item>&b;</item></rss>', "declares entities"),
        ('<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><item>&a;</item></rss>', "declares entities"),
    ],
)
def test_other_xml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        rows_of(tmp_path, text.encode())


def test_items_come_while_the_file_is_read(tmp_path: Path) -> None:
    """What is broken at the end does not keep the first items back: nothing waits for the whole."""
    path = tmp_path / "feed.xml"
    path.write_text("<rss>" + "<item><title>Desk</title></item>" * 5000 + "<broken", encoding="utf-8")
    rows = merchant_rows(FeedSource.recognise(path))
    assert next(rows) == FeedRow(1, {"title": "Desk"})
