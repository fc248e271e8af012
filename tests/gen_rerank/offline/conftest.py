"""Pairs of the tiny shop, as people bring them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gen_rerank import Dataset


@pytest.fixture(scope="session")
def pair_rows(tiny_shop: Dataset) -> list[dict[str, Any]]:
    """All judged pairs of the tiny shop, with their texts."""
    return [
        {
            "query_id": row.query_id,
            "product_id": row.product_id,
            "query": tiny_shop.queries[row.query_id].text,
            "product": tiny_shop.products[row.product_id].model_dump(exclude={"product_id"}, exclude_defaults=True),
        }
        for row in tiny_shop.judgments
    ]


@pytest.fixture(scope="session")
def differing_pairs(pair_rows: list[dict[str, Any]]) -> Callable[..., Path]:
    """Writes so many pairs that differ, and lines behind them as they stand."""

    def write(file: Path, count: int, *lines: str) -> Path:
        rows = [{**pair_rows[i % len(pair_rows)], "query_id": f"q{i}"} for i in range(count)]
        texts = [json.dumps({**row, "query": f"{row['query']} {i}"}) for i, row in enumerate(rows)]
        file.write_text("".join(f"{line}\n" for line in [*texts, *lines]))
        return file

    return write


@pytest.fixture
def write_lines() -> Callable[[Path, Sequence[Any]], Path]:
    """Writes rows as JSON Lines; a text stands as it is."""

    def write(file: Path, rows: Sequence[Any]) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        return file

    return write


@pytest.fixture
def read_scores() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads a folder of scores as its users do: all Parquet files of `scores`."""

    def read(out: Path) -> list[dict[str, Any]]:
        return pq.read_table(out / "scores").to_pylist()

    return read
