"""Files of rows, JSON Lines or Parquet, read and written: good rows with their lines, bad ones with their reasons.

What the rows of several files have to do with one another is `dataset`'s. A new form of file is read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from gen_rerank.data.records import BadRow, Record
from gen_rerank.errors import BadInput, first_line

Row = TypeVar("Row", bound=Record)


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write records as JSON Lines, without the fields that are absent."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_none=True, exclude_defaults=True) + "\n")


class RowReader(Generic[Row]):
    """One file of records: rows with their line numbers, and the rows that were refused.

    Args:
        folder: of the data set.
        name: of the file, without its ending.
        record: what a row of it is.

    Raises:
        BadInput: there is no such file in one of the forms that are read.
    """

    def __init__(self, folder: Path, name: str, record: type[Row]) -> None:
        candidates = [folder / f"{name}.jsonl", folder / f"{name}.parquet"]
        found = [path for path in candidates if path.is_file()]
        if not found:
            raise BadInput(f"{folder}: neither {candidates[0].name} nor {candidates[1].name} is there")
        self.file = found[0]
        self.record = record
        self.bad: list[BadRow] = []

    def refuse(self, line: int, reason: str) -> None:
        """Note a row that cannot be used."""
        self.bad.append(BadRow(str(self.file), line, reason))

    def numbered(self, key: Any) -> Iterator[tuple[int, Row]]:
        """Yield valid rows with their line; a repeated key is refused."""
        seen: dict[str, tuple[int, Row]] = {}
        for line, raw in self._raw():
            try:
                row = self.record.model_validate(raw) if isinstance(raw, dict) else self.record.model_validate_json(raw)
            except ValidationError as error:
                self.refuse(line, _reason(error))
                continue
            first_line, first = seen.setdefault(key(row), (line, row))
            if first_line != line:
                self.refuse(line, f"{key(row)} was already given in line {first_line}{_contradiction(first, row)}")
                continue
            yield line, row

    def unique(self, key: Any) -> Iterator[Row]:
        """Yield valid rows; a repeated key is refused."""
        return (row for _, row in self.numbered(key))

    def _raw(self) -> Iterator[tuple[int, str | bytes | dict[str, Any]]]:
        if self.file.suffix == ".parquet":
            yield from enumerate(_parquet_rows(self.file), start=1)
            return
        with self.file.open("rb") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    yield line, text


def _parquet_rows(path: Path) -> Sequence[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file ({first_line(error)})") from error
    # Parquet gives every row every column, and a map as a list of pairs: drop what is absent, rebuild the map.
    return [{key: _plain(key, value) for key, value in row.items() if value is not None} for row in rows]


def _plain(key: str, value: Any) -> Any:
    if key != "attributes":
        return value
    items = value.items() if isinstance(value, dict) else value
    return {name: text for name, text in items if text is not None}


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
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return f"not valid JSON ({first['ctx']['error']})"
    if first["type"] == "extra_forbidden":
        return f"unknown column {where!r}"
    if not where:
        return "not a JSON object"
    if first["type"] == "missing":
        return f"column {where!r} is missing"
    return f"column {where!r}: {first['msg']}, but it is {_shown(first['input'])}"
