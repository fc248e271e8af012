"""Small files in the forms of public sets, and the shared folder of real ones."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gen_rerank import Dataset
from gen_rerank.data.importing.judging import JudgmentOptions
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.public_sets.importing import import_public_set

REAL = Path(__file__).parents[5] / "shared" / "data"


def table(
    file: Path, header: Sequence[str], *rows: Sequence[Any], delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    """Write a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding=encoding, newline="") as opened:
        csv.writer(opened, delimiter=delimiter).writerows([header, *rows])
    return file


def parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a Parquet file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def json_lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON Lines, gzipped where the name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)
    return file


def real(name: str) -> list[dict[str, Any]]:
    """The rows of a real file."""
    with gzip.open(REAL / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def imported(name: str, source: Path, out: Path, locale: str = "us", **options: Any) -> tuple[Dataset, ImportReport]:
    """Import a set; return what can be loaded, and the report."""
    report = import_public_set(name, source, out, JudgmentOptions(**options), locale=locale)
    dataset = Dataset.load(out)
    counts = {"products": dataset.products, "queries": dataset.queries, "judgments": dataset.judgments}
    assert report.kept == {what: len(rows) for what, rows in counts.items() if rows}
    return dataset, report


def grades(dataset: Dataset) -> dict[tuple[str, str], float]:
    """The relevance of each pair, by the query's text and the product's id."""
    return {(dataset.queries[row.query_id].text, row.product_id): row.relevance for row in dataset.judgments}


def places(report: ImportReport) -> list[tuple[str, int, str]]:
    """Where each refused row is, and the kind of reason."""
    return [(row.file, row.line, row.kind) for row in report.first_refused]
