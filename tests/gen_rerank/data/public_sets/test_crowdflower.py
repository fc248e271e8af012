"""CrowdFlower: a median, a variance, and no ids of products."""

from __future__ import annotations

from pathlib import Path

from .writing import imported, places, table

HEADER = ("id", "query", "product_title", "product_description", "median_relevance", "relevance_variance")
DESK, LAMP = ("Oak desk", "Fine."), ("Lamp", "")


def test_medians_are_grades_and_nothing_is_made_of_the_variance(tmp_path: Path):
    rows = [(1, "desk", *DESK, 4, 0.471), (2, "table", *DESK, 2, 0), (4, "desk", *LAMP, 1, 0)]
    source = table(tmp_path / "cf" / "train.csv", HEADER, *rows).parent
    dataset, report = imported("crowdflower", source, tmp_path / "out")
    found = [
        (dataset.queries[row.query_id].text, dataset.products[row.product_id].title, row.relevance)
        for row in dataset.judgments
    ]
    assert found == [("desk", "Oak desk", 1.0), ("table", "Oak desk", 1 / 3), ("desk", "Lamp", 0.0)]
    assert all(row.labels == () for row in dataset.judgments)
    assert [row.description for row in dataset.products.values()] == ["Fine.", None]
    assert report.read == {"judgments": 3}


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path):
    rows = [
        (1, "desk", *DESK, 4, 0),
        (2, "desk", *DESK, 3, 0),
        (3, "desk", *LAMP, 5, 0),
        (4, "desk", "", "", 1, 0),
        (5, "", *LAMP, 1, 0),
        (6, "desk", *LAMP, "", 0),
    ]
    dataset, report = imported("crowdflower", table(tmp_path / "train.csv", HEADER, *rows), tmp_path / "out")
    assert [row.relevance for row in dataset.judgments] == [1.0]
    assert places(report) == [
        ("train.csv", 3, "pair given twice"),
        ("train.csv", 4, "grade"),
        ("train.csv", 5, "product"),
        ("train.csv", 6, "query"),
        ("train.csv", 7, "grade"),
    ]
