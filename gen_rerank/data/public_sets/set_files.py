"""The files of a public set: found in its folder by their names, read as rows, checked for the columns they must have.

How a file is opened and decoded, `feeds` knows. What the rows of a set mean is its own module's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gen_rerank.data.feeds.opened import rows_of
from gen_rerank.data.feeds.rows import FeedRow, FeedRows
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.data.importing.report import ImportReport, names_listed
from gen_rerank.data.missing import is_nothing
from gen_rerank.data.values import BadValue, identifier
from gen_rerank.errors import BadInput
from gen_rerank.reporting.progress import WorkProgress

_ENDINGS = ("csv", "tsv", "txt", "json", "jsonl", "ndjson", "parquet", "xlsx")
_ROWS_A_STEP = 1000

# What is kept of the rows of a table, by id.
TableRows = Mapping[str, Mapping[str, Any]]


def find_file(folder: Path, *patterns: str) -> Path | None:
    """Return the file of a folder whose name, without its endings, is like one of the patterns; None where none is.

    Raises:
        BadInput: there are several, of which nobody knows which is meant, or it is still in a zip file.

    Example:
        >>> find_file(Path("wands"), "query", "queries")  # doctest: +SKIP
        PosixPath('wands/query.csv')
    """
    named = [file for file in sorted(folder.iterdir()) if any(fnmatch(_stem(file), each) for each in patterns)]
    found = [file for file in named if _is_data(file)]
    if len(found) > 1:
        raise BadInput(
            f"{folder}: {found[0].name} and {found[1].name} are both there, and only one can be meant; move the other "
            "one away"
        )
    if not found and (packed := [file for file in named if file.suffix.lower() == ".zip"]):
        raise BadInput(f"{packed[0]}: unpack it first")
    return found[0] if found else None


def set_file(source: Path, what: str, *patterns: str) -> Path:
    """Return the file of a set's folder that must be there.

    Args:
        source: the folder.
        what: is in the file, for the sentence.
        patterns: of its name, without endings.

    Raises:
        BadInput: `source` is no folder, or there is no such file, or several.
    """
    if not source.is_dir():
        raise BadInput(f"{source}: {'is a file' if source.exists() else 'no such folder'}; name the folder of the set")
    found = find_file(source, *patterns)
    if found is None:
        raise BadInput(f"{source}: has no {patterns[0]}.csv (or .parquet, .json, …), which holds the set's {what}")
    return found


def set_parts(source: Path, *patterns: str) -> list[Path]:
    """Return the files in which one table of a set lies: `source` itself, or all data files below a folder.

    Args:
        source: a file, or a folder with one file or several parts, in folders too, as data sets' hubs have them.
        patterns: of names; where a file has one of them, only such files are taken.

    Raises:
        BadInput: there are none.
    """
    if not source.is_dir():
        if not source.exists():
            raise BadInput(f"{source}: no such file or folder")
        return [source]
    below = [file for file in sorted(source.rglob("*")) if _is_data(file) and not _is_hidden(file, source)]
    chosen = [file for file in below if any(fnmatch(_stem(file), each) for each in patterns)]
    if not below:
        raise BadInput(f"{source}: holds no data files ({', '.join(_ENDINGS)}, also with .gz)")
    return chosen or below


def set_rows(
    file: Path, what: str, needed: Sequence[str], report: ImportReport, *, legacy: str | None = None
) -> Iterator[FeedRow]:
    """Yield the rows of a file, counted; those that cannot be read are refused.

    Args:
        file: a table, JSON, Parquet or a sheet, gzipped or not.
        what: a row is, for the report.
        needed: columns that must be there; of `"a|b"` one of the two.
        report: is told of each row.
        legacy: the encoding of text that is no Unicode, where the set is known to have it.

    Raises:
        BadInput: the file cannot be read, has no rows, or lacks a column.
    """
    source = FeedSource.recognise(file)
    if legacy and source.encoding and not source.encoding.startswith("utf"):
        source = FeedSource.recognise(file, legacy)
    report.found[file.name] = ", ".join(filter(None, (str(source.form), source.encoding_said)))
    checked = False
    with WorkProgress(transient=True) as progress:
        task = progress.add_task(f"{what} read", total=None)
        for number, row in enumerate(_rows(source), start=1):
            report.count(what)
            if number % _ROWS_A_STEP == 0:
                progress.advance(task, _ROWS_A_STEP)
            if not isinstance(row, FeedRow):
                report.refuse(row.kind, file.name, row.line, row.reason)
                continue
            if not checked:
                _check_columns(file, row, needed)
                checked = True
            for note in row.notes:
                report.change(note.kind, f"{file.name}:{row.line}", note.before, note.after)
            yield row
    if not checked:
        raise BadInput(f"{file}: has no rows that can be read")


def rows_by_id(
    rows: Iterable[FeedRow],
    file: Path,
    column: str,
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    report: ImportReport,
) -> TableRows:
    """Return what the rows of a file say, by id; the first row with an id is kept, others are refused.

    Args:
        rows: of the file.
        file: for the report.
        column: holds the id.
        read: makes of a row's cells what is kept of them; it may raise `BadValue`.
        report: is told what is refused.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        try:
            key = identifier(row.cells.get(column))
        except BadValue as error:
            report.refuse(column, file.name, row.line, f"{column} {error}")
            continue
        if key in found:
            report.refuse(f"{column} given twice", file.name, row.line, f"{key} was given before, which is kept")
            continue
        try:
            found[key] = read(row.cells)
        except BadValue as error:
            report.refuse("unusable row", file.name, row.line, str(error))
    return found


def row_of(table: TableRows, given: Any) -> Mapping[str, Any]:
    """Return what a table says of an id as it stands in a file; nothing where it does not know the id.

    Example:
        >>> row_of({"1": {"title": "Oak desk"}}, 1.0)
        {'title': 'Oak desk'}
    """
    try:
        return table.get(identifier(given), {})
    except BadValue:
        return {}


def graded(value: Any) -> Any:
    """Return a grade as it stands in a file; a missing one as a text without one, so that its row is refused."""
    return "" if value is None or is_nothing(value) else value


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and one value as a list of it."""
    return list(value) if isinstance(value, list | tuple) else [value]


def with_rest(
    attributes: Sequence[tuple[str, Any]], cells: Mapping[str, Any], used: Sequence[str], *, keep_rest: bool
) -> list[tuple[str, Any]]:
    """Return attributes, and with `keep_rest` those columns too that have no other use, under their own names."""
    rest = [(name.replace("_", " "), value) for name, value in cells.items() if name not in used]
    return [*attributes, *(rest if keep_rest else [])]


def _rows(source: FeedSource) -> FeedRows:
    if source.form == FeedForm.XML:
        raise BadInput(f"{source.path}: is XML; a table, JSON or Parquet is needed")
    return rows_of(source)


def _check_columns(file: Path, row: FeedRow, needed: Sequence[str]) -> None:
    for column in needed:
        if not any(name in row.cells for name in column.split("|")):
            said = " or ".join(map(repr, column.split("|")))
            raise BadInput(f"{file}: has no column {said}; there are {names_listed(row.cells)}")


def _stem(file: Path) -> str:
    """Return a name without its endings, in small letters."""
    return file.name.lower().partition(".")[0]


def _is_data(file: Path) -> bool:
    ending = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    return ending in _ENDINGS and file.is_file()


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
