"""Files: which form they have and in which encoding they were saved, told by what is in them."""

from __future__ import annotations

import encodings.aliases
import gzip
import os
from pathlib import Path

import pytest

from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.errors import BadInput

GERMAN = "id;title\n1;Schöner Tisch für die Küche\n2;Größerer Stuhl, weiß\n3;Müllers Süßwaren\n"


def recognised(folder: Path, raw: bytes, encoding: str | None = None) -> FeedSource:
    path = folder / "feed.dat"
    path.write_bytes(raw)
    return FeedSource.recognise(path, encoding)


def read(source: FeedSource) -> str:
    with source.text() as file:
        return file.read()


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b"id,title\n", FeedForm.TABLE),
        (b' \n[{"id": 1}]', FeedForm.JSON_ITEMS),
        (b'[\n{"id": 1}]', FeedForm.JSON_ARRAY),
        (b'\xef\xbb\xbf{"id": 1}\n', FeedForm.JSON_LINES),
        (b"<?xml version='1.0'?><rss/>", FeedForm.XML),
        ("<rss/>".encode("utf-16"), FeedForm.XML),
        (b"PAR1....", FeedForm.PARQUET),
        (b"PK\x03\x04....", FeedForm.XLSX),
    ],
)
def test_the_form_is_told_by_the_content_compressed_or_not(tmp_path: Path, raw: bytes, form: FeedForm) -> None:
    assert recognised(tmp_path, raw).form is form
    packed = recognised(tmp_path, gzip.compress(raw))
    assert packed.form is form
    assert packed.compressed


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8, with a byte order mark"),
        ("utf-16", "UTF-16, with a byte order mark"),
        ("utf-16-le", "UTF-16, without a byte order mark"),
        ("utf-16-be", "UTF-16, without a byte order mark"),
        ("utf-32", "UTF-32, with a byte order mark"),
        ("cp1252", "cp1252, as charset-normalizer found; --encoding names another"),
    ],
)
def test_the_encoding_is_found_and_said(tmp_path: Path, encoding: str, said: str) -> None:
    source = recognised(tmp_path, GERMAN.encode(encoding))
    assert source.encoding_said == said
    assert read(source) == GERMAN


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Café crème à la carte; déjà vu\n"),
        ("cp1252", "Köksbord för två, grå\n"),
        ("cp1252", "Sofá de niño, tamaño pequeño\n"),
        ("cp1250", "Stół dębowy, krzesło; łóżko żółte\n"),
        ("cp1251", "Дубовый стол для кухни\n"),
        ("shift_jis", "木製の机、青い椅子\n"),
        ("gb18030", "木制书桌，蓝色椅子\n"),
        ("euc_kr", "나무 책상 파란 의자\n"),
    ],
)
def test_encodings_of_before_unicode(tmp_path: Path, encoding: str, text: str) -> None:
    assert read(recognised(tmp_path, (text * 5).encode(encoding))) == text * 5


def test_characters_beyond_ascii_may_come_late(tmp_path: Path) -> None:
    raw = b"id,title\n" + b"1,desk\n" * 300_000 + "2,Küche für Söhne\n".encode("cp1252")
    assert read(recognised(tmp_path, raw)).endswith("Küche für Söhne\n")


def test_a_few_broken_bytes_do_not_make_another_encoding(tmp_path: Path) -> None:
    source = recognised(tmp_path, GERMAN.encode() * 10 + b"4;caf\xe9\n")
    assert source.encoding_said == "UTF-8, but for 1 byte"
    assert read(source).endswith("caf\udce9\n")


@pytest.mark.parametrize("good", ["crème", "crème brûlée", "naïve 木"])
def test_one_broken_byte_in_a_file_of_few_beyond_ascii_does_not_either(tmp_path: Path, good: str) -> None:
    raw = b"id,title\n" + b"1,desk\n" * 3000 + f"2,{good}\n".encode() + b"3,caf\xc3\x28\n"
    source = recognised(tmp_path, raw)
    assert source.encoding_said == "UTF-8, but for 1 byte"
    assert good in read(source)


def test_a_named_encoding_is_taken(tmp_path: Path) -> None:
    assert read(recognised(tmp_path, "1;łóżko\n".encode("iso8859-2"), "latin2")) == "1;łóżko\n"
    assert read(recognised(tmp_path, b"\xef\xbb\xbfid\n", "utf-8")) == "id\n"


@pytest.mark.parametrize("name", ["klingon", "base64", "a\0b"])
def test_what_is_no_encoding_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="there is no encoding"):
        recognised(tmp_path, b"id\n", name)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(gzip.compress(b"id,title\n", mtime=0), mtime=0), "is gzipped twice; unpack it once"),
        (b"%PDF-1.4", "is a PDF; save it as CSV or XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"an old Excel file \(\.xls\)"),
        (gzip.compress(b"id,title\n" * 99, mtime=0)[:-9], "not a whole gzip file"),
        ("id,title\n".encode("utf-16") + b"x", "not UTF-16.* to its end"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read(recognised(tmp_path, raw))


def test_a_folder_a_pipe_and_nothing_are_no_feeds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a pipe or a device"):
        FeedSource.recognise(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a folder; name the file"):
        FeedSource.recognise(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        FeedSource.recognise(tmp_path / "feed.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "UTF16"])
@pytest.mark.parametrize("raw", [GERMAN.encode("utf-16-le"), GERMAN.encode(), b"id,title\n1,Desk\n", b"x"])
def test_a_named_encoding_without_its_mark_is_one_sentence(tmp_path: Path, encoding: str, raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"feed\.dat: not utf-"):
        read(recognised(tmp_path, raw, encoding))


def text_or_sentence(folder: Path, raw: bytes, encoding: str) -> str:
    """What is read, or what is said instead; any other error is the test's."""
    try:
        return read(recognised(folder, raw, encoding))
    except BadInput as error:
        return str(error)


@pytest.mark.parametrize("name", sorted({*encodings.aliases.aliases.values(), "idna", "punycode", "undefined"}))
def test_every_codec_reads_a_file_or_says_why_not(tmp_path: Path, name: str) -> None:
    for raw in (GERMAN.encode("utf-16-le"), GERMAN.encode(), bytes(range(1, 256))):
        assert text_or_sentence(tmp_path, raw, name)


@pytest.mark.parametrize("name", ["idna", "punycode", "undefined", "rot13", "base64"])
def test_codecs_of_no_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="there is no encoding"):
        recognised(tmp_path, GERMAN.encode(), name)


@pytest.mark.parametrize("declared", ["UTF-16", "utf-16le", "UTF-32"])
def test_xml_that_declares_what_it_cannot_be_is_read_as_what_it_is(tmp_path: Path, declared: str) -> None:
    written = f"<?xml version='1.0' encoding='{declared}'?><rss>Schöner Tisch für die Küche, weiß</rss>"
    source = recognised(tmp_path, written.encode("cp1252"))
    assert read(source) == written
