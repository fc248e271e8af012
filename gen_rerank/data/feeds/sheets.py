"""Parquet and XLSX become rows, a batch at a time."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from gen_rerank.data.feeds.rows import FORMULA, FeedNote, FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.data.feeds.tables import column_names
from gen_rerank.data.parquet_values import value_reader
from gen_rerank.errors import BadInput, first_line

_BATCH_ROWS = 4096
_CHUNK_BYTES = 2**20
_FORMULA_TAG = re.compile(rb"<(?:\w{1,20}:)?f[\s>/]")
_TAG_BYTES = 32
_EMPTY_TEXT = "str"  # how a formula is marked that gave an empty text


def parquet_rows(source: FeedSource) -> FeedRows:
    """Yield the rows of a Parquet file, numbered from 1.

    Raises:
        BadInput: it cannot be read, or holds values that Python does not have.
    """
    import pyarrow.parquet

    with source.seekable() as file:
        try:
            table = pyarrow.parquet.ParquetFile(file)
            fields = list(table.schema_arrow)
            names = column_names([field.name for field in fields])
            readers = [(name, value_reader(field.type)) for name, field in zip(names, fields, strict=True)]
            changed = [(name, reader) for name, reader in readers if reader is not None]
            number = 0
            for batch in table.iter_batches(_BATCH_ROWS):
                for cells in batch.rename_columns(names).to_pylist():
                    number += 1
                    yield FeedRow(number, {**cells, **{name: reader(cells[name]) for name, reader in changed}})
        except BadInput:
            raise
        except Exception as error:  # damage can lead the reader anywhere
            raise BadInput(f"{source.path}: not a readable Parquet file ({first_line(error)})") from error


def sheet_rows(source: FeedSource) -> FeedRows:
    """Yield the rows of a workbook's first sheet, with their numbers in it; empty ones are none.

    Raises:
        BadInput: it is no workbook, or its first sheet has no header, or one of formulas without a value.
    """
    with source.seekable() as file, _workbook(source, file) as book:
        names: list[str] = []
        for number, (cells, formulas) in enumerate(_cells(source, file, book), start=1):
            if not formulas and not any(cell is not None and cell != "" for cell in cells):
                continue
            if not names:
                if formulas:
                    raise BadInput(f"{source.path}: row {number}, its header, has a {FORMULA}")
                names = column_names(_without_end(cells))
                continue
            if any(cell is not None for cell in cells[len(names) :]):
                yield UnreadRow(number, "too many cells", f"more cells than the {len(names)} of the header")
            else:
                notes = (FeedNote(FORMULA, names[place], each, "") for place, each in formulas if place < len(names))
                yield FeedRow(number, dict(zip(names, cells, strict=False)), tuple(notes))
        if not names:
            raise BadInput(f"{source.path}: its first sheet is empty")


def sheet_names(source: FeedSource) -> list[str]:
    """Return the names of a workbook's sheets; the first one is read.

    Raises:
        BadInput: it is no workbook.
    """
    with source.seekable() as file, _workbook(source, file) as book:
        return [sheet.title for sheet in book.worksheets]


def _cells(source: FeedSource, file: IO[bytes], book: Any) -> Iterator[tuple[tuple[Any, ...], list[tuple[int, str]]]]:
    """Yield the values of each row of the first sheet, and the place and text of each formula that has none.

    A spreadsheet program stores with a formula what it gave; other programs write the formula alone. openpyxl shows
    one or the other, so a workbook with formulas is read twice at once.
    """
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # some programs write that there is one cell
    if not _has_formulas(file):
        for values in sheet.iter_rows(values_only=True):
            yield values, []
        return
    with _workbook(source, file, formulas=True) as other:
        written = other.worksheets[0]
        written.reset_dimensions()
        for cells, others in zip(sheet.iter_rows(), written.iter_rows(), strict=True):
            formulas = [
                (place, _formula(each.value))
                for place, (cell, each) in enumerate(zip(cells, others, strict=True))
                if each.data_type == "f" and cell.value is None and cell.data_type != _EMPTY_TEXT
            ]
            yield tuple(cell.value for cell in cells), formulas


def _has_formulas(file: IO[bytes]) -> bool:
    """Say whether a sheet of a workbook has a formula, by the tag that one has in it."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/"):
                with archive.open(name) as part:
                    before = b""
                    while chunk := part.read(_CHUNK_BYTES):
                        if _FORMULA_TAG.search(before + chunk):
                            return True
                        before = chunk[-_TAG_BYTES:]
    return False


def _formula(value: Any) -> str:
    from openpyxl.worksheet.formula import ArrayFormula

    return str(value.text if isinstance(value, ArrayFormula) else value)


def _without_end(cells: tuple[Any, ...]) -> list[Any]:
    """Return a header without the empty cells at its end."""
    last = max(place for place, cell in enumerate(cells) if cell is not None and cell != "")
    return list(cells[: last + 1])


@contextmanager
def _workbook(source: FeedSource, file: IO[bytes], *, formulas: bool = False) -> Iterator[Any]:
    """Open a workbook for reading row by row, the values of its formulas or the formulas themselves.

    Raises:
        BadInput: it is none, or has no sheet; also while it is read.
    """
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that it does not know
            book = openpyxl.load_workbook(file, read_only=True, data_only=not formulas)
            if not book.worksheets:
                raise BadInput(f"{source.path}: the workbook has no sheet")
            yield book
            book.close()
    except BadInput:
        raise
    except Exception as error:  # damage can lead the reader anywhere
        raise BadInput(
            f"{source.path}: not a readable XLSX file ({first_line(error)}); of a ZIP archive, unpack the feed first"
        ) from error
