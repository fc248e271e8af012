"""The benchmark of people's agreement, on folders whose labels one can count."""

from __future__ import annotations

from pathlib import Path

import pytest

import label_agreement
from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.errors import BadInput


def folder(place: Path, *labels: tuple[float, ...]) -> Path:
    products = {"p": Product(product_id="p", title="thing")}
    queries = {f"q{i}": Query(query_id=f"q{i}", text=f"query {i}", split="train") for i in range(len(labels))}
    rows = [Judgment(query_id=f"q{i}", product_id="p", relevance=0.5, labels=each) for i, each in enumerate(labels)]
    Dataset(products, queries, tuple(rows)).save(place)
    return place


def test_a_row_a_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "a", (0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0), (0.5,))
    row = label_agreement.row_of(f"a={place}")
    assert row[:5] == ["a", "4", "3", "2.3", "3"]
    assert row[5].startswith("1.000")
    assert label_agreement.row_of(f"b={folder(tmp_path / 'b', (0.5,), ())}")[2:] == ["0", "–", "0", "–"]
    with pytest.raises(BadInput, match="NAME=DATA"):
        label_agreement.row_of("a")
