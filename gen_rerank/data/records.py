"""The rows that people bring: products, queries and judgments, and the folder that holds them.

A data set is a folder with `products.jsonl`, `queries.jsonl` and `judgments.jsonl` (or `.parquet` with the same
columns). Every row is validated when it is read, and a bad one is reported with its file, its line and the
reason. This module knows nothing of models, prompts or metrics.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.errors import BadInput, first_line

Split = Literal["train", "validation", "test"]
Grade = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Identifier = Annotated[str, Field(min_length=1)]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Record(BaseModel):
    """One immutable row. Unknown columns are an error, so that a misspelt optional column is not lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Product(Record):
    """A thing for sale. Only the identifier and the title are required.

    Example:
        >>> Product(product_id="p1", title="Oak desk", attributes={"material": "oak"}).title
        'Oak desk'
    """

    product_id: Identifier
    title: Text
    description: str | None = None
    brand: str | None = None
    category: str | None = None
    attributes: dict[str, str] = {}
    price: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    available: bool | None = None


class Query(Record):
    """What a shopper typed; `tags` name the slices that the query belongs to."""

    query_id: Identifier
    text: Text
    split: Split
    tags: tuple[str, ...] = ()


class Judgment(Record):
    """How relevant a product is for a query, in [0, 1]; `labels` are the single annotators' grades."""

    query_id: Identifier
    product_id: Identifier
    relevance: Grade
    labels: tuple[Grade, ...] = ()


Row = TypeVar("Row", bound=Record)


@dataclass(frozen=True)
class BadRow:
    """A row that was refused: the file, the line (from 1) and the reason, in words."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return `file:line: reason`."""
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Pair:
    """One query text and one product: the input of every scorer."""

    query: str
    product: Product


@dataclass(frozen=True)
class Dataset:
    """A validated folder of products, queries and judgments.

    Attributes:
        products: by product id, in file order.
        queries: by query id, in file order.
        judgments: in file order; every id in them exists, and no pair is judged twice.
        bad_rows: what `skip_bad_rows` left out; empty otherwise.
    """

    products: dict[str, Product]
    queries: dict[str, Query]
    judgments: tuple[Judgment, ...]
    bad_rows: tuple[BadRow, ...] = ()

    @classmethod
    def load(cls, folder: str | Path, *, skip_bad_rows: bool = False) -> Dataset:
        """Read and validate a data set folder.

        Args:
            folder: holds `products`, `queries` and `judgments` as `.jsonl` or `.parquet`.
            skip_bad_rows: leave bad rows out and list them in `bad_rows` instead of raising.

        Raises:
            BadInput: a file is missing or empty, or a row is bad (the message names file, line and reason).

        Example:
            >>> Dataset.load("shop").of("test")  # doctest: +SKIP
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise BadInput(
                f"{folder}: no such folder; a data set is a folder with products.jsonl, queries.jsonl and "
                "judgments.jsonl"
            )
        products = _Reader(folder, "products", Product)
        queries = _Reader(folder, "queries", Query)
        judgments = _Reader(folder, "judgments", Judgment)
        by_product = {row.product_id: row for row in products.unique(lambda row: row.product_id)}
        by_query = {row.query_id: row for row in queries.unique(lambda row: row.query_id)}
        judged = []
        for line, row in judgments.numbered(lambda row: f"{row.query_id} × {row.product_id}"):
            if row.query_id not in by_query:
                judgments.refuse(line, f"query_id {row.query_id!r} is not in {queries.file.name}")
            elif row.product_id not in by_product:
                judgments.refuse(line, f"product_id {row.product_id!r} is not in {products.file.name}")
            else:
                judged.append(row)
        bad = (*products.bad, *queries.bad, *judgments.bad)
        if bad and not skip_bad_rows:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise BadInput(f"{bad[0]}{more}; correct the row, or pass --skip-bad-rows to leave such rows out")
        for reader, kept in ((products, by_product), (queries, by_query), (judgments, judged)):
            if not kept:
                raise BadInput(f"{reader.file}: no usable rows")
        return cls(by_product, by_query, tuple(judged), bad)

    def save(self, folder: str | Path) -> None:
        """Write the three JSON Lines files into `folder`, which is created."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / "products.jsonl", self.products.values())
        write_rows(folder / "queries.jsonl", self.queries.values())
        write_rows(folder / "judgments.jsonl", self.judgments)

    def of(self, split: Split) -> Dataset:
        """Return the same products with only the queries and judgments of one split."""
        queries = {key: query for key, query in self.queries.items() if query.split == split}
        judgments = tuple(row for row in self.judgments if row.query_id in queries)
        return Dataset(self.products, queries, judgments, self.bad_rows)

    def pair(self, judgment: Judgment) -> Pair:
        """Return the texts that a judgment is about."""
        return Pair(self.queries[judgment.query_id].text, self.products[judgment.product_id])

    def by_query(self) -> dict[str, list[Judgment]]:
        """Return the judgments of each judged query, in file order."""
        groups: dict[str, list[Judgment]] = defaultdict(list)
        for judgment in self.judgments:
            groups[judgment.query_id].append(judgment)
        return dict(groups)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 over all rows: the same data gives the same 16 hexadecimal digits on every machine."""
        digest = hashlib.sha256()
        for row in (*self.products.values(), *self.queries.values(), *self.judgments):
            digest.update(row.model_dump_json().encode())
        return digest.hexdigest()[:16]


def judged_split(data: Path, split: str, skip_bad_rows: bool = False) -> Dataset:
    """Return one split of a data set folder.

    Raises:
        BadInput: no such split, bad data, or nothing judged in it.
    """
    if split not in get_args(Split):
        raise BadInput(f"there is no split {split!r}; choose one of {', '.join(get_args(Split))}")
    dataset = Dataset.load(data, skip_bad_rows=skip_bad_rows)
    part = dataset.of(cast(Split, split))
    if not part.judgments:
        raise BadInput(f"{data}: no query of the split {split!r} has a judgment")
    return part


def product_text(product: Product) -> str:
    """Return all that a product says: title, brand, category, attributes and description.

    Example:
        >>> product_text(Product(product_id="p", title="Oak desk", attributes={"width": "120 cm"}))
        'Oak desk width 120 cm'
    """
    attributes = (f"{name} {value}" for name, value in product.attributes.items())
    parts = (product.title, product.brand, product.category, *attributes, product.description)
    return " ".join(part for part in parts if part)


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write records as JSON Lines, without the fields that are absent."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_none=True, exclude_defaults=True) + "\n")


class _Reader(Generic[Row]):
    """One file of records: rows with their line numbers, and the rows that were refused."""

    def __init__(self, folder: Path, name: str, record: type[Row]) -> None:
        candidates = [folder / f"{name}.jsonl", folder / f"{name}.parquet"]
        found = [path for path in candidates if path.is_file()]
        if not found:
            raise BadInput(f"{folder}: neither {candidates[0].name} nor {candidates[1].name} is there")
        self.file = found[0]
        self.record = record
        self.bad: list[BadRow] = []

    def refuse(self, line: int, reason: str) -> None:
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
