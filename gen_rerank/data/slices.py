"""A file of rows in slices: neighbouring rows that are read without the rest, so that many can read one file at once.

Cutting reads the file once, from end to end, and returns with the slices what identifies its content. Slices depend on
the content alone: the same file is cut alike on every machine. What a row is, `reading` knows.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gen_rerank.data.json_text import BYTE_ORDER_MARK
from gen_rerank.errors import BadInput, first_line


@dataclass(frozen=True)
class FileSlice:
    """Neighbouring rows of a file.

    Attributes:
        first: the number of its first line, or row of a Parquet file, from 1.
        lines: how many lines it has, blank ones among them.
        rows: how many of them are not blank.
        start: the byte at which it begins; of a compressed file, of what that unpacks to; 0 in a Parquet file.
    """

    first: int
    lines: int
    rows: int
    start: int = 0


@dataclass(frozen=True)
class CutFile:
    """A file, cut.

    Attributes:
        sha256: of its content, unpacked; 64 hexadecimal digits.
        slices: in the order of the file, none where it has no rows.
    """

    sha256: str
    slices: tuple[FileSlice, ...]

    @property
    def rows(self) -> int:
        """How many rows there are, blank lines not counted."""
        return sum(one.rows for one in self.slices)


def cut_file(file: Path, most_rows: int, most_bytes: int) -> CutFile:
    """Cut a file that `reading` has found to be of a form that is read.

    Args:
        file: `.jsonl`, `.jsonl.gz` or `.parquet`.
        most_rows: of a slice.
        most_bytes: of a slice, where it has more than one row: long rows make short slices.

    Raises:
        BadInput: it cannot be read to its end.

    Example:
        >>> [part.first for part in cut_file(Path("pairs.jsonl"), 4096, 2**24).slices]  # doctest: +SKIP
        [1, 4097]
    """
    if file.suffix == ".parquet":
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        return CutFile(sha256, tuple(_cut_parquet(file, most_rows, most_bytes)))
    digest = hashlib.sha256()
    with opened_lines(file) as content:
        slices = tuple(_cut_lines(content, digest, most_rows, most_bytes))
    return CutFile(digest.hexdigest(), slices)


@contextmanager
def opened_lines(file: Path) -> Iterator[IO[bytes]]:
    """Open JSON Lines, compressed or not, for reading.

    Raises:
        BadInput: a compressed file is damaged or ends too early.
    """
    opener: Any = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as content:
            yield content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{file}: not a whole gzip file ({first_line(error)})") from error


def is_blank(line: bytes) -> bool:
    """Return whether a line holds no row: white space, or a byte order mark alone."""
    return not line.strip().removeprefix(BYTE_ORDER_MARK)


def _cut_lines(content: IO[bytes], digest: Any, most_rows: int, most_bytes: int) -> Iterator[FileSlice]:
    first, start, lines, rows, size = 1, 0, 0, 0, 0
    for line in content:
        if lines and (lines == most_rows or size + len(line) > most_bytes):
            yield FileSlice(first, lines, rows, start)
            first, start, lines, rows, size = first + lines, start + size, 0, 0, 0
        digest.update(line)
        lines, rows, size = lines + 1, rows + (not is_blank(line)), size + len(line)
    if lines:
        yield FileSlice(first, lines, rows, start)


def _cut_parquet(file: Path, most_rows: int, most_bytes: int) -> Iterator[FileSlice]:
    """Yield slices none of which lies in two row groups, as a row group is read from its beginning."""
    import pyarrow.parquet

    described = pyarrow.parquet.read_metadata(file)
    first = 1
    for number in range(described.num_row_groups):
        group = described.row_group(number)
        one_row = max(1, group.total_byte_size // max(1, group.num_rows))
        length = max(1, min(most_rows, most_bytes // one_row))
        for begin in range(0, group.num_rows, length):
            rows = min(length, group.num_rows - begin)
            yield FileSlice(first + begin, rows, rows)
        first += group.num_rows
