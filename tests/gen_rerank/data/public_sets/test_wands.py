"""WANDS: three tables parted by tabs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput
from gen_rerank.data.public_sets.wands import features

from .writing import grades, imported, places, table

NAMES = st.text("abc xyz", min_size=1).map(str.strip).filter(bool)
HEADER = (
    "product_id", "product_name", "product_class", "category hierarchy", "product_description", "product_features",
    "rating_count", "average_rating", "review_count",
)  # fmt: skip


def written(folder: Path, queries: list, products: list, labels: list) -> Path:
    table(folder / "query.csv", ("query_id", "query", "query_class"), *queries, delimiter="\t")
    table(folder / "product.csv", HEADER, *products, delimiter="\t")
    table(folder / "label.csv", ("id", "query_id", "product_id", "label"), *labels, delimiter="\t")
    return folder


DESK = (
    7, "solid oak desk, 2 drawers", "Desks", "Furniture / Desks", 'A "fine" desk.',
    "material : oak|color:brown|color:white", 12.0, 4.5, 9.0,
)  # fmt: skip
LAMP = (8, "lamp", "Lamps", "", "", "", "", "", "")


def test_labels_names_and_features(tmp_path: Path):
    labels = [(0, 0, 7, "Exact"), (1, 0, 8, "Irrelevant"), (2, 1, 7, "Partial")]
    source = written(tmp_path / "wands", [(0, "oak desk", "Desks"), (1, "table", "Tables")], [DESK, LAMP], labels)
    dataset, report = imported("wands", source, tmp_path / "out")
    assert grades(dataset) == {("oak desk", "7"): 1.0, ("oak desk", "8"): 0.0, ("table", "7"): 0.5}
    assert dataset.products["7"].model_dump(exclude_none=True) == {
        "product_id": "7",
        "title": "solid oak desk, 2 drawers",
        "description": 'A "fine" desk.',
        "category": "Furniture / Desks",
        "attributes": {"material": "oak", "color": "brown, white"},
    }
    assert [row.query_id for row in dataset.queries.values()] == ["0", "1"]
    assert all(row.tags == () for row in dataset.queries.values())
    assert report.read == {"queries": 2, "products": 2, "judgments": 3}


def test_the_rest_is_kept_when_asked(tmp_path: Path):
    source = written(tmp_path / "wands", [(0, "oak desk", "Desks")], [DESK], [(0, 0, 7, "Exact")])
    dataset, _ = imported("wands", source, tmp_path / "out", keep_rest=True)
    assert dataset.queries["0"].tags == ("Desks",)
    assert dataset.products["7"].attributes["product class"] == "Desks"
    assert dataset.products["7"].attributes["rating count"] == "12.0"


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path):
    queries = [(0, "oak desk", "Desks"), (0, "again", "Desks"), (1, "", "")]
    labels = [(0, 0, 7, "Exact"), (1, 0, 7, "Partial"), (2, 0, 9, "Exact"), (3, 5, 7, "Exact"), (4, 1, 7, "Exact"),
              (5, 0, 8, "exactly")]  # fmt: skip
    dataset, report = imported("wands", written(tmp_path / "wands", queries, [DESK, LAMP], labels), tmp_path / "out")
    assert grades(dataset) == {("oak desk", "7"): 1.0}
    assert places(report) == [
        ("query.csv", 3, "query_id given twice"),
        ("label.csv", 3, "pair given twice"),
        ("label.csv", 4, "product without text"),
        ("label.csv", 5, "unknown query"),
        ("label.csv", 6, "unknown query"),
        ("label.csv", 7, "grade"),
    ]


def test_a_file_that_is_missing_is_named(tmp_path: Path):
    source = written(tmp_path / "wands", [(0, "oak desk", "Desks")], [DESK], [(0, 0, 7, "Exact")])
    (source / "label.csv").unlink()
    with pytest.raises(BadInput, match=r"wands: has no label.csv .* which holds the set's labels"):
        imported("wands", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(st.lists(st.tuples(NAMES, NAMES), max_size=8))
def test_features_come_back_as_they_were_written(pairs):
    assert features("|".join(f"{name}:{value}" for name, value in pairs)) == pairs
