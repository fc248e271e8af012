"""A file becomes text or bytes: what form it has, whether it is compressed, in which encoding it was saved.

The form is told by the file's first bytes and not by its name: exports are misnamed often. What the rows in it are is
`tables`', `json_rows`', `sheets`' and `merchant_xml`'s to say.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from gen_rerank.data.json_text import is_utf_16
from gen_rerank.errors import BadInput, first_line

_HEAD_BYTES = 65536
_SAMPLE_BYTES = 2**18
_CHUNK_BYTES = 2**20
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16's mark does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{2,40})["']""")
_WIDE = (b"utf-16", b"utf_16", b"utf16", b"utf-32", b"utf_32", b"utf32", b"ucs-2", b"iso-10646")
# Codecs of names in the internet, and one that does nothing but fail: no file is saved in them.
_NOT_OF_FILES = ("idna", "punycode", "undefined")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
# What shops' programs save in. With all that there are, short texts are taken for the rarest.
_LEGACY = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "cp932", "euc_jp", "gb18030",
    "big5", "cp949",
]  # fmt: skip
_USUAL = "cp1252"
_MARGIN = 0.1  # of charset-normalizer's coherence, by which another one must be better than the usual one
_PACKED = b"\x1f\x8b"


class FeedForm(StrEnum):
    """How the rows lie in a file."""

    TABLE = "table"
    JSON_ARRAY = "JSON array"
    JSON_ITEMS = "JSON array in one line"
    JSON_LINES = "JSON Lines"
    XML = "XML"
    PARQUET = "Parquet"
    XLSX = "XLSX"

    @property
    def unit(self) -> str:
        """What its rows are counted in: lines, as an editor counts, or what there is instead of them."""
        return {FeedForm.JSON_ITEMS: "item", FeedForm.PARQUET: "row"}.get(self, "line")


@dataclass(frozen=True)
class FeedSource:
    """A file of which one knows how to read it.

    Attributes:
        path: of the file.
        compressed: whether it is gzipped.
        form: of what is in it.
        encoding: of its text, a name of Python's; None where it holds no text.
        encoding_said: the same in words.
    """

    path: Path
    compressed: bool
    form: FeedForm
    encoding: str | None = None
    encoding_said: str = ""

    @classmethod
    def recognise(cls, path: Path, encoding: str | None = None) -> FeedSource:
        """Find out what a file is; text is read once for it, from beginning to end.

        Args:
            path: the file.
            encoding: in which it was saved, where people know.

        Raises:
            BadInput: there is no such file, it is empty, a folder, damaged, or of a form that is not read.

        Example:
            >>> FeedSource.recognise(Path("feed.csv.gz")).form  # doctest: +SKIP
            <FeedForm.TABLE: 'table'>
        """
        if path.is_dir():
            raise BadInput(f"{path}: is a folder; name the file of the feed")
        if not path.exists():
            raise BadInput(f"{path}: no such file")
        if not path.is_file():
            raise BadInput(f"{path}: is a pipe or a device, and a feed is read more than once; write it to a file")
        with _in_words(path), path.open("rb") as file:
            compressed = file.read(2) == _PACKED
        plain = cls(path, compressed, FeedForm.TABLE)
        with plain.opened() as file:
            head = file.read(_HEAD_BYTES)
        if not head.strip():
            raise BadInput(f"{path}: is empty")
        if head.startswith(_PACKED):
            raise BadInput(f"{path}: is gzipped twice; unpack it once")
        if head.startswith(b"PAR1"):
            return cls(path, compressed, FeedForm.PARQUET)
        if head.startswith(b"PK\x03\x04"):
            return cls(path, compressed, FeedForm.XLSX)
        if head.startswith((b"\xd0\xcf\x11\xe0", b"%PDF")):
            kind = "a PDF" if head.startswith(b"%PDF") else "an old Excel file (.xls)"
            raise BadInput(f"{path}: is {kind}; save it as CSV or XLSX")
        named = _named_encoding(path, encoding) if encoding else None
        name, said = (named, f"{named}, as it was named") if named else plain._encoding(head)
        with _decoded(path, said):
            text = codecs.getincrementaldecoder(name)(errors="replace").decode(head)
        return cls(path, compressed, _form_of(text), name, said)

    @property
    def name(self) -> str:
        """The file's name, as it stands before the number of a row: `feed.csv`, `feed.json item`."""
        return self.path.name if self.form.unit == "line" else f"{self.path.name} {self.form.unit}"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open it for reading bytes, uncompressed.

        Raises:
            BadInput: it cannot be opened, or is no whole gzip file; also while it is read.
        """
        with _in_words(self.path), (gzip.open if self.compressed else open)(self.path, "rb") as file:
            yield file  # type: ignore[misc]

    @contextmanager
    def text(self) -> Iterator[IO[str]]:
        """Open it for reading text; bytes that are none in its encoding come as lone surrogates, line ends as they are.

        Raises:
            BadInput: as `opened`, or it is not in its encoding, such as UTF-16 that ends in half a character.
        """
        assert self.encoding is not None, "it holds text"
        with self.opened() as file, _decoded(self.path, self.encoding_said):
            yield io.TextIOWrapper(file, self.encoding, errors="surrogateescape", newline="")

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """Open it for reading bytes in any order; a compressed one is unpacked into a file without a name.

        Raises:
            BadInput: as `opened`.
        """
        with self.opened() as file:
            if not self.compressed:
                yield file
                return
            with TemporaryFile() as unpacked:
                shutil.copyfileobj(file, unpacked, _CHUNK_BYTES)
                unpacked.seek(0)
                yield unpacked

    def _encoding(self, head: bytes) -> tuple[str, str]:
        """Return the encoding of the text, and how it is said."""
        for mark, name in _MARKS.items():
            if head.startswith(mark):
                return name, f"{name.removesuffix('-sig').upper()}, with a byte order mark"
        if is_utf_16(head):
            return ("utf-16-be" if head[0] == 0 else "utf-16-le"), "UTF-16, without a byte order mark"
        whole, broken, sample = self._characters()
        if not broken:
            return "utf-8", "UTF-8" if whole else "ASCII"
        if broken <= whole:  # other encodings give characters of UTF-8 by chance alone
            return "utf-8", f"UTF-8, but for {broken:,} {'bytes' if broken > 1 else 'byte'}"
        declared = _DECLARED.search(head)
        if declared and not declared[1].lower().startswith(_WIDE):  # which the declaration itself would be in
            name = _named_encoding(self.path, declared[1].decode())
            return name, f"{name}, as the file declares"
        name = _legacy_encoding(sample)
        return name, f"{name}, as charset-normalizer found; --encoding names another"

    def _characters(self) -> tuple[int, int, bytes]:
        """Count the characters beyond ASCII that are UTF-8, and the bytes that are not; with lines that have some."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        whole = broken = 0
        sample = bytearray()
        with self.opened() as file:
            while chunk := file.read(_CHUNK_BYTES):
                text = decoder.decode(chunk)
                if text.isascii():
                    continue
                unread = len(_NOT_UTF_8.findall(text))
                broken += unread
                whole += len(text) - len(text.encode("ascii", "ignore")) - unread
                if unread and len(sample) < _SAMPLE_BYTES:
                    lines = chunk.splitlines(keepends=True)
                    sample += b"".join(line for line in lines if not line.isascii())[:_SAMPLE_BYTES]
        broken += len(decoder.decode(b"", final=True))
        return whole, broken, bytes(sample)


@contextmanager
def _decoded(path: Path, said: str) -> Iterator[None]:
    """Say in one sentence that a file is not in the encoding in which it is read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not {said} to its end ({error.reason})") from error
    except UnicodeError as error:  # of UTF-16 and UTF-32, whose bytes have two orders
        raise BadInput(
            f"{path}: not {said} ({first_line(error)}); without a byte order mark name the order, such as utf-16-le, "
            "or leave --encoding out"
        ) from error


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Say in one sentence that a file cannot be read."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a whole gzip file ({first_line(error)})") from error
    except (PermissionError, IsADirectoryError) as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def _named_encoding(path: Path, name: str) -> str:
    """Return Python's name of an encoding that somebody named; in UTF-8 a byte order mark is skipped."""
    try:
        "".encode(name)  # of codecs that make no text it says so
        found = codecs.lookup(name).name
        if found in _NOT_OF_FILES:
            raise LookupError(found)
    except (LookupError, ValueError) as error:
        raise BadInput(f"{path}: there is no encoding {name!r}; utf-8, cp1252 and shift_jis are some") from error
    return "utf-8-sig" if found == "utf-8" else found


def _legacy_encoding(sample: bytes) -> str:
    """Return which encoding of before Unicode a text is most likely in, by charset-normalizer.

    Western Europe's is taken where nothing else is clearly better: on a few words they are hard to tell apart.
    """
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=_LEGACY)
    best = matches.best()
    if best is None:
        return _USUAL
    for match in matches:
        near = match.chaos <= best.chaos and match.coherence >= best.coherence - _MARGIN
        if near and _USUAL in match.could_be_from_charset:
            return _USUAL
    return best.encoding


def _form_of(head: str) -> FeedForm:
    """Return the form of a text by how it begins."""
    begin = head.removeprefix("\ufeff").lstrip()
    if begin.startswith("<"):
        return FeedForm.XML
    if begin.startswith("["):
        return FeedForm.JSON_ARRAY if len(begin.rstrip().splitlines()) > 1 else FeedForm.JSON_ITEMS
    return FeedForm.JSON_LINES if begin.startswith("{") else FeedForm.TABLE
