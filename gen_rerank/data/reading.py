"""Files of rows, JSON Lines or Parquet, read and written: good rows with their lines, bad ones with their reasons.

What a value becomes is `values`', what the rows of several files have to do with one another `dataset`'s. Other forms
of files are refused with a sentence that names the form. A new form that is read is read here.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from pydantic import ValidationError

from gen_rerank.data.json_text import BYTE_ORDER_MARK, NotJson, is_utf_16, read_json
from gen_rerank.data.parquet_values import value_reader
from gen_rerank.data.records import BadRow, Record, row_fault
from gen_rerank.data.slices import FileSlice, is_blank, opened_lines
from gen_rerank.errors import BadInput, first_line
from gen_rerank.system.publishing import naming_the_file

Row = TypeVar("Row", bound=Record)

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_PANDAS_INDEX = "__index_level_"
_HEAD_BYTES = 4096
_PARQUET_BATCH = 65_536  # rows, as pyarrow has it


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write records as JSON Lines, without the fields that are absent."""
    with naming_the_file(path), path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_none=True, exclude_defaults=True) + "\n")


def rows_file(folder: Path, name: str) -> Path:
    """Return the file of a data set folder that holds the rows of this name.

    Raises:
        BadInput: there is none, or there are several, of which nobody knows which is meant.

    Example:
        >>> rows_file(Path("shop"), "products")  # doctest: +SKIP
        PosixPath('shop/products.jsonl')
    """
    found = find_rows_file(folder, name)
    if found is None:
        raise BadInput(f"{folder}: neither {name}.jsonl nor {name}.parquet is there")
    return found


def find_rows_file(folder: Path, name: str) -> Path | None:
    """Return the file of a data set folder that holds the rows of this name; None where the folder has no such rows.

    Raises:
        BadInput: they are there in another form, which is not read, or there are several files, of which nobody knows
            which is meant.

    Example:
        >>> find_rows_file(Path("shop"), "judgments") is None  # doctest: +SKIP
        True
    """
    found = [folder / f"{name}{ending}" for ending in ENDINGS if (folder / f"{name}{ending}").is_file()]
    if len(found) > 1:
        raise BadInput(
            f"{folder}: {' and '.join(path.name for path in found)} are both there, and only one can be meant; "
            "move the other one away"
        )
    if found:
        return found[0]
    others = sorted(folder.glob(f"{name}.*"))
    if others:
        form = "a folder" if others[0].is_dir() else "of another form"
        raise BadInput(f"{folder}: neither {name}.jsonl nor {name}.parquet is there; {others[0].name} is {form}")
    return None


def products_file(path: Path) -> Path:
    """Return the file of products that a path names: itself, or the one in a data set folder.

    Raises:
        BadInput: no such file, or one of another form.

    Example:
        >>> products_file(Path("shop"))  # doctest: +SKIP
        PosixPath('shop/products.jsonl')
    """
    file = rows_file(path, "products") if path.is_dir() else path
    if file.exists() and not file.is_file():
        raise BadInput(f"{file}: is a pipe or a device, and products are read from a file; write them to a .jsonl file")
    if not file.is_file():
        raise BadInput(f"{file}: no such file; products are a .jsonl, .jsonl.gz or .parquet file, or a folder with one")
    if not file.name.endswith(ENDINGS):
        raise BadInput(f"{file}: products are read from {', '.join(ENDINGS)}; gen-rerank import makes such a folder")
    return file


def rows_places(folder: Path) -> list[Path]:
    """Return where rows may lie in a data set folder, whether they are there or not.

    Example:
        >>> rows_places(Path("shop"))[0].as_posix()
        'shop/products.jsonl'
    """
    return [folder / f"{name}{ending}" for name in ("products", "queries", "judgments", "needs") for ending in ENDINGS]


def refuse_bad_rows(bad: Sequence[BadRow]) -> None:
    """Complain of bad rows, if there are any: the first in full, and how many more.

    Raises:
        BadInput: there is one.

    Example:
        >>> refuse_bad_rows([BadRow("p.jsonl", 3, "no JSON")])
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: p.jsonl:3: no JSON; correct the row, or pass --skip-bad-rows to leave such rows out
    """
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise BadInput(f"{bad[0]}{more}; correct the row, or pass --skip-bad-rows to leave such rows out")


class RowReader(Generic[Row]):
    """One file of records: rows with their line numbers, and the rows that were refused.

    Args:
        file: with an ending of `ENDINGS`, as `rows_file` finds it.
        record: what a row of it is.
        part: the slice of it that is read; None for all of it.
    """

    def __init__(self, file: Path, record: type[Row], part: FileSlice | None = None) -> None:
        self.file = file
        self.record = record
        self.part = part
        self.bad: list[BadRow] = []

    def refuse(self, line: int, reason: str) -> None:
        """Note a row that cannot be used."""
        self.bad.append(BadRow(str(self.file), line, reason))

    def require_form(self) -> None:
        """Require that the file is of a form that is read; only its beginning is looked at, or its schema.

        Raises:
            BadInput: it is of another one, or cannot be opened.
        """
        if self.file.suffix == ".parquet":
            _opened_parquet(self.file, self.record)
        else:
            with opened_lines(self.file) as content:
                _require_lines(content, self.file)

    def valid(self) -> Iterator[tuple[int, Row]]:
        """Yield valid rows with their line, whatever they repeat: nothing is kept in memory but the bad rows.

        Raises:
            BadInput: the file as a whole is of a form that is not read.
        """
        for line, raw in self._raw():
            try:
                yield line, self.record.model_validate(read_json(raw.rstrip()) if isinstance(raw, bytes) else raw)
            except NotJson as error:
                self.refuse(line, str(error).replace("at line 1 column", "at column"))
            except ValidationError as error:
                self.refuse(line, _reason(error))

    def numbered(self, key: Any, wanted: Container[str] | None = None) -> Iterator[tuple[int, Row]]:
        """Yield valid rows with their line; a repeated key is refused.

        Args:
            key: what a row is told apart by.
            wanted: the keys of the rows that are yielded; the others are checked, and none of them stays in memory.
                None yields all.

        Raises:
            BadInput: the file as a whole is of a form that is not read.
        """
        seen: dict[str, tuple[int, Row | None]] = {}
        for line, row in self.valid():
            name = key(row)
            kept = row if wanted is None or name in wanted else None
            first_line, first = seen.setdefault(name, (line, kept))
            if first_line != line:
                contradiction = "" if first is None else _contradiction(first, row)
                self.refuse(line, f"{name} was already given in line {first_line}{contradiction}")
            elif kept is not None:
                yield line, row

    def unique(self, key: Any) -> Iterator[Row]:
        """Yield valid rows; a repeated key is refused."""
        return (row for _, row in self.numbered(key))

    def _raw(self) -> Iterator[tuple[int, bytes | dict[str, Any]]]:
        if self.file.suffix == ".parquet":
            yield from _parquet_rows(self.file, self.record, self.part)
        else:
            yield from _json_lines(self.file, self.part)


def _json_lines(path: Path, part: FileSlice | None) -> Iterator[tuple[int, bytes]]:
    with opened_lines(path) as file:
        if part is None:
            _require_lines(file, path)
        first, start, most = (1, 0, None) if part is None else (part.first, part.start, part.lines)
        file.seek(start)
        for line, text in enumerate(islice(file, most), start=first):
            if not is_blank(text):
                yield line, text


def _require_lines(file: IO[bytes], path: Path) -> None:
    """Refuse what does not begin as JSON Lines do."""
    form = _other_form(file.read(_HEAD_BYTES), path)
    if form:
        raise BadInput(f"{path}: {form}")


def _other_form(head: bytes, path: Path) -> str | None:
    """Return what to do with a file that begins like this; None when it may be JSON Lines."""
    if head.startswith(b"\x1f\x8b"):
        return f"it is compressed by gzip; name it {path.name}.gz"
    if head.startswith(b"PAR1"):
        return f"it is a Parquet file; name it {path.with_suffix('.parquet').name}"
    if is_utf_16(head):
        return "it is written in UTF-16; save it as UTF-8"
    first, second = [*head.removeprefix(BYTE_ORDER_MARK).strip().splitlines(), b"", b""][:2]
    if first.startswith(b"["):
        return "it is one JSON array; write one object a line (jq -c '.[]' does it)"
    if first.strip() == b"{":
        return "it has objects of several lines; write one object a line (jq -c . does it)"
    if first.startswith(b"<"):
        return "it is XML or HTML; write one JSON object a line"
    if first and not first.startswith(b"{") and second and not second.strip().startswith(b"{"):
        return "it has no JSON but looks like a table such as CSV; write one JSON object a line"
    return None


def _parquet_rows(path: Path, record: type[Record], part: FileSlice | None) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa

    file = _opened_parquet(path, record)
    readers = [(field.name, value_reader(field.type)) for field in file.schema_arrow]
    changed = [(name, reader) for name, reader in readers if reader is not None]
    try:
        for first, batch in _parquet_batches(file, part):
            for number, row in enumerate(batch.to_pylist(), start=first):
                yield number, {**row, **{name: reader(row[name]) for name, reader in changed}}
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # of values that Python cannot hold
        raise BadInput(f"{path}: not a readable Parquet file ({first_line(error)})") from error


def _opened_parquet(path: Path, record: type[Record]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file ({first_line(error)})") from error
    _check_columns(path, file.schema_arrow.names, record)
    return file


def _parquet_batches(file: Any, part: FileSlice | None) -> Iterator[tuple[int, Any]]:
    """Yield batches of rows with the number of each one's first row, from 1; of a slice, its row groups alone."""
    lengths = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    ends = list(accumulate(lengths))
    first, last = (1, sum(lengths)) if part is None else (part.first, part.first + part.lines - 1)
    groups = [number for number, end in enumerate(ends) if end >= first and end - lengths[number] < last]
    number = ends[groups[0]] - lengths[groups[0]] + 1 if groups else 1
    at_once = _PARQUET_BATCH if part is None else min(_PARQUET_BATCH, part.lines)
    for batch in file.iter_batches(batch_size=at_once, row_groups=groups):
        wanted = batch.slice(max(0, first - number))[: max(0, last - max(first, number) + 1)]
        if len(wanted):
            yield max(first, number), wanted
        number += len(batch)
        if number > last:
            return


def _check_columns(path: Path, names: Iterable[str], record: type[Record]) -> None:
    """Refuse columns that no row may have, once and not for each row."""
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{path}: the column {name!r} is there twice; which one is meant?")
        if name.startswith(_PANDAS_INDEX):
            raise BadInput(f"{path}: the column {name!r} is pandas' index; write the file with to_parquet(index=False)")
        if name not in record.model_fields:
            raise BadInput(f"{path}: unknown column {name!r}; there may be {', '.join(record.model_fields)}")


def _contradiction(first: Record, again: Record) -> str:
    """Name the first column in which a repeated row says something else: which of the two is right, people must say."""
    for name in type(first).model_fields:
        old, new = getattr(first, name), getattr(again, name)
        if old != new:
            return f", with another {name.removesuffix('s')} ({_shown(old)}, here {_shown(new)})"
    return ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _reason(error: ValidationError) -> str:
    found = row_fault(error)
    if not (found.field or found.unknown):
        return "not a JSON object"
    if not found.unknown:
        return f"column {found.field!r}{found.clause}"
    index = " (pandas' index; write the file without it)" if found.field.startswith(_PANDAS_INDEX) else ""
    return f"unknown column {found.field!r}{index}"
