"""Parquet and XLSX become rows, a batch at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from gen_rerank.data.feeds.rows import FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.source import FeedSource
from gen_rerank.data.feeds.tables import column_names
from gen_rerank.data.parquet_values import value_reader
from gen_rerank.errors import BadInput, first_line

_BATCH_ROWS = 4096


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
        BadInput: it is no workbook, or its first sheet has no header.
    """
    with source.seekable() as file, _workbook(source, file) as book:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write that there is one cell
        names: list[str] = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if not any(cell is not None and cell != "" for cell in cells):
                continue
            if not names:
                names = column_names(_without_end(cells))
                continue
            if any(cell is not None for cell in cells[len(names) :]):
                yield UnreadRow(number, "too many cells", f"more cells than the {len(names)} of the header")
            else:
                yield FeedRow(number, dict(zip(names, cells, strict=False)))
        if not names:
            raise BadInput(f"{source.path}: its first sheet is empty")


def sheet_names(source: FeedSource) -> list[str]:
    """Return the names of a workbook's sheets; the first one is read.

    Raises:
        BadInput: it is no workbook.
    """
    with source.seekable() as file, _workbook(source, file) as book:
        return [sheet.title for sheet in book.worksheets]


def _without_end(cells: tuple[Any, ...]) -> list[Any]:
    """Return a header without the empty cells at its end."""
    last = max(place for place, cell in enumerate(cells) if cell is not None and cell != "")
    return list(cells[: last + 1])


@contextmanager
def _workbook(source: FeedSource, file: IO[bytes]) -> Iterator[Any]:
    """Open a workbook for reading row by row.

    Raises:
        BadInput: it is none, or has no sheet; also while it is read.
    """
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that it does not know
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            if not book.worksheets:
                raise BadInput(f"{source.path}: the workbook has no sheet")
            yield book
            book.close()
    except BadInput:
        raise
    except Exception as error:  # damage can lead the reader anywhere
        raise BadInput(f"{source.path}: not a readable XLSX file ({first_line(error)})") from error
