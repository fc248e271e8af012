"""Files of judgments, opened as feeds are: unpacked, decoded, as rows with names, as lines or as one JSON value.

What stands in them is the formats' own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from gen_rerank.data.feeds.opened import rows_of
from gen_rerank.data.feeds.rows import FeedRow, FeedRows
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.data.importing.report import ImportReport, times_listed
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.errors import BadInput
from gen_rerank.reporting.progress import WorkProgress

Entry = TypeVar("Entry")

_A_STEP = 1000
_HEAD_ROWS = 1000
_NO_TEXT = (FeedForm.PARQUET, FeedForm.XLSX)


def _recognised(path: Path) -> FeedSource:
    """Find out what a file of judgments is.

    Raises:
        BadInput: it is a folder, or no file that can be read more than once; or as `FeedSource.recognise`.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name the file with the judgments")
    if path.exists() and not path.is_file():
        raise BadInput(f"{path}: is a pipe or a device, and judgments are read more than once; write them to a file")
    return FeedSource.recognise(path)


@dataclass(frozen=True)
class NamedRows:
    """The rows of a file, each with named cells; a row may lack names that others have.

    Attributes:
        file: its name, as it stands before the number of a row.
        names: of the first 1,000 rows, each once, in the order in which they come.
        head: the first 1,000 rows.
        rows: all rows, read once.
    """

    file: str
    names: tuple[str, ...]
    head: tuple[FeedRow, ...]
    rows: Iterator[FeedRow]


def named_rows(path: Path, report: ImportReport) -> NamedRows:
    """Open a table, JSON, Parquet or a sheet. Rows are counted, those that cannot be read refused.

    Raises:
        BadInput: the file cannot be read, or has no rows.
    """
    source = _recognised(path)
    rows = _read_rows(source, report)
    head = tuple(islice(rows, _HEAD_ROWS))
    if not head:
        first = f" that can be read ({report.first_refused[0]})" if report.first_refused else ""
        raise BadInput(f"{path}: has no rows{first}")
    names = dict.fromkeys(name for row in head for name in row.cells)
    return NamedRows(source.name, tuple(names), head, chain(head, _with_late_names(rows, frozenset(names), report)))


def _read_rows(source: FeedSource, report: ImportReport) -> Iterator[FeedRow]:
    report.found["form"] = source.form.value
    for row in _watched(_rows(source, report), "rows read"):
        report.count("rows")
        if isinstance(row, FeedRow):
            for note in row.notes:
                report.change(note.kind, f"{source.name}:{row.line} {note.column}".rstrip(), note.before, note.after)
            yield row
        else:
            report.refuse(row.kind, source.name, row.line, row.reason)


def _with_late_names(rows: Iterable[FeedRow], known: frozenset[str], report: ImportReport) -> Iterator[FeedRow]:
    """Yield rows; in the end the report is told of names that the head did not have, which are no column of a vote."""
    late: Counter[str] = Counter()
    for row in rows:
        late.update(row.cells.keys() - known)
        yield row
    if late:
        report.found[f"columns that first come after {_HEAD_ROWS:,} rows"] = times_listed(late)


def _watched(entries: Iterable[Entry], what: str) -> Iterator[Entry]:
    """Yield entries, with the progress shown."""
    with WorkProgress(transient=True) as progress:
        task = progress.add_task(what, total=None)
        for number, entry in enumerate(entries, start=1):
            if number % _A_STEP == 0:
                progress.advance(task, _A_STEP)
            yield entry


def _rows(source: FeedSource, report: ImportReport) -> FeedRows:
    if source.form == FeedForm.XML:
        raise BadInput(f"{source.path}: is XML; judgments are read from tables, JSON, Parquet and XLSX")
    if source.form == FeedForm.TABLE:
        report.found["encoding"] = source.encoding_said
    return rows_of(source)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text that are not blank, with their numbers, from 1.

    Raises:
        BadInput: the file cannot be read, or is no text.
    """
    source = _recognised(path)
    if source.form in _NO_TEXT:
        raise BadInput(f"{path}: is {source.form.value}; a text file is needed")
    with source.text() as file:
        for number, line in enumerate(_watched(file, "lines read"), start=1):
            if line.strip():
                yield number, line.rstrip("\r\n").removeprefix("\ufeff")


def is_json(path: Path) -> bool:
    """Return whether a file begins as JSON does.

    Raises:
        BadInput: the file cannot be read.
    """
    return _recognised(path).form in (FeedForm.JSON_LINES, FeedForm.JSON_ARRAY, FeedForm.JSON_ITEMS)


def json_file(path: Path) -> Any:
    """Return the one JSON value that a file holds.

    Raises:
        BadInput: the file cannot be read, or holds no JSON.
    """
    with _recognised(path).opened() as file:
        raw = file.read()
    try:
        return read_json(raw)
    except NotJson as error:
        raise BadInput(f"{path}: is {error}") from error
