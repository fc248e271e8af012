"""Cells of exports that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv

import pytest

from gen_rerank import Dataset
from gen_rerank.data.exports import export_data


@pytest.mark.parametrize("name", ["judgments", "quepid"])
def test_queries_and_ids_are_no_formulas(tmp_path, name):
    (tmp_path / "shop").mkdir()
    for file, row in {
        "products": '{"product_id": "=1+1", "title": "Lamp"}',
        "queries": '{"query_id": "@q", "text": "=cmd|x", "split": "test", "tags": ["+t"]}',
        "judgments": '{"query_id": "@q", "product_id": "=1+1", "relevance": 1}',
    }.items():
        (tmp_path / "shop" / f"{file}.jsonl").write_text(row + "\n", encoding="utf-8")
    assert Dataset.load(tmp_path / "shop").judgments
    export_data(tmp_path / "shop", tmp_path / "out.csv", name)
    _, cells = csv.reader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines())
    assert [cell for cell in cells if cell.strip().startswith(("=", "@", "+"))] == (
        [" @q", " =cmd|x", " +t", " =1+1"] if name == "judgments" else [" =cmd|x", " =1+1"]
    )
