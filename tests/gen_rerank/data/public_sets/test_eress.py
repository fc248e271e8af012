"""ERESS is for measuring, all of it."""

from __future__ import annotations

from pathlib import Path

from gen_rerank.data.importing.splitting import SplitPlan

from .writing import grades, imported, parquet, places


def pair(query: str, asin: str, score: object, column: str = "query_string") -> dict:
    return {
        column: query,
        "parent_asin": asin,
        "title": f"Title of {asin}",
        "description": None,
        "relevance_score": score,
    }


def test_every_query_is_a_test_query(tmp_path: Path):
    rows = [pair(f"query {i}", f"A{i}{j}", j / 4) for i in range(6) for j in range(5)]
    source = parquet(tmp_path / "eress.parquet", rows)
    dataset, report = imported("eress", source, tmp_path / "out", plan=SplitPlan((1.0, 0.0, 0.0)))
    assert {row.split for row in dataset.queries.values()} == {"test"}
    assert grades(dataset) == {(row["query_string"], row["parent_asin"]): row["relevance_score"] for row in rows}
    assert report.found["splits"] == "train 0, validation 0, test 6 (as given)"


def test_the_query_may_have_the_other_name(tmp_path: Path):
    source = parquet(tmp_path / "eress.parquet", [pair("desk", "A1", 1.0, "query")])
    dataset, _ = imported("eress", source, tmp_path / "out")
    assert grades(dataset) == {("desk", "A1"): 1.0}


def test_of_several_parts_those_named_test_are_read(tmp_path: Path):
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [pair("desk", "A1", 1.0), pair("desk", "A2", 2.0)])
    parquet(tmp_path / "data" / "other-00000-of-00001.parquet", [pair("lamp", "A3", 1.0)])
    dataset, report = imported("eress", tmp_path, tmp_path / "out")
    assert grades(dataset) == {("desk", "A1"): 1.0}
    assert places(report) == [("test-00000-of-00001.parquet", 2, "grade")]
