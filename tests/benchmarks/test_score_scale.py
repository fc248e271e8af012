"""The benchmark of offline scoring: its pairs, what it counts, and the arithmetic of costs."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gen_rerank import BadInput, Dataset
from score_cost import HEADER, Rented, pace_of, row
from score_scale import changed, lost_and_twice, write_pairs


def test_pairs_are_so_many_and_each_is_there_once(tiny_shop: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    write_pairs(file, tiny_shop, 1000, seed=0)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({(row["query_id"], row["product_id"]) for row in rows}) == len(rows) == 1000
    assert all(row["product"]["title"] == tiny_shop.products[row["product_id"]].title for row in rows)
    write_pairs(tmp_path / "again.jsonl", tiny_shop, 1000, seed=0)
    assert (tmp_path / "again.jsonl").read_text() == file.read_text()
    with pytest.raises(BadInput, match="there are only 1,536 pairs"):
        write_pairs(file, tiny_shop, 2000, seed=0)


def test_the_next_night_differs_in_some(tiny_shop: Dataset) -> None:
    night = changed(tiny_shop)
    titles = [one.title == night.products[name].title for name, one in tiny_shop.products.items()]
    texts = [one.text == night.queries[name].text for name, one in tiny_shop.queries.items()]
    assert (titles.count(False), texts.count(False)) == (2, 1)


def test_what_is_lost_or_there_twice_is_counted(tmp_path: Path) -> None:
    rows = [{"query_id": "q", "product_id": f"p{i}"} for i in range(4)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "scores").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:2]), tmp_path / "scores" / "a.parquet")
    pq.write_table(pa.Table.from_pylist(rows[1:2]), tmp_path / "scores" / "b.parquet")
    assert lost_and_twice(tmp_path / "pairs.jsonl", tmp_path) == (2, 1)


def test_costs() -> None:
    machine = Rented("64 cores", 3.6, cores=64)
    pace = pace_of(machine, 625, 2, 0, 0)
    assert pace == 20_000
    assert row(machine, 7.2e7, pace) == ["64 cores", "20,000", "60 minutes", "6 minutes", "4"]
    assert len(HEADER) == 5
