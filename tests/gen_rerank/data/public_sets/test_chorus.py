"""Chorus: final grades, single grades beside, Icecat's catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from .writing import REAL, grades, imported, json_lines, places, real, table

RATED = ("query", "docid", "rating")
SINGLE = ("query", "docid", "name", "description", "agent_1_rating", "agent_2_rating", "agent_3_rating", "final_rating")


def item(docid: str, **more: object) -> dict:
    return {
        "id": docid,
        "name": "EV-1",
        "title": "Oak speaker EV-1",
        "ean": ["0095205603217"],
        "short_description": "A speaker of oak",
        "img_high": "http://nowhere/1.jpg",
        "supplier": "Oakley",
        "price": 4995,
        "attr_t_product_colour": "Black",
        "attr_n_weight": 43.0,
        **more,
    }


def written(folder: Path, rated: list, single: list | None = None, catalog: list | None = None) -> Path:
    table(folder / "Broad_Query_Set_rated.csv", RATED, *rated)
    table(folder / "Broad_Query_Set_unrated.csv", RATED, ("never", 1, ""))
    if single is not None:
        table(folder / "Broad_Query_Set_individual_ratings.csv", SINGLE, *single)
    if catalog is not None:
        json_lines(folder / "icecat-products-w_price-19k-20201127.json.gz", catalog)
    return folder


def test_single_grades_are_labels_and_the_final_one_stands_where_there_are_none(tmp_path: Path):
    rated = [("speaker", 1, 3), ("speaker", 2, 2), ("speaker", 3, 0)]
    single = [("speaker", 1, "EV-1", "", 3, 2, 0, 3), ("speaker", 2, "EV-2", "", 2, "", 3, 2)]
    source = written(tmp_path / "chorus", rated, single, [item(str(i)) for i in (1, 2, 3)])
    dataset, report = imported("chorus", source, tmp_path / "out")
    labels = {row.product_id: row.labels for row in dataset.judgments}
    assert labels == {"1": (1.0, 2 / 3, 0.0), "2": (2 / 3, 1.0), "3": ()}
    assert grades(dataset) == pytest.approx({("speaker", "1"): 5 / 9, ("speaker", "2"): 5 / 6, ("speaker", "3"): 0.0})
    assert report.read == {"products": 3, "pairs with single grades": 2, "judgments": 3}


def test_a_product_of_the_catalog(tmp_path: Path):
    source = written(tmp_path / "chorus", [("speaker", 1, 3)], catalog=[item("1")])
    dataset, _ = imported("chorus", source, tmp_path / "out")
    assert dataset.products["1"].model_dump(exclude_none=True) == {
        "product_id": "1",
        "title": "Oak speaker EV-1",
        "description": "A speaker of oak",
        "brand": "Oakley",
        "attributes": {"product colour": "Black", "weight": "43"},
        "price": 49.95,
    }


def test_without_a_catalog_the_single_grades_name_the_products(tmp_path: Path):
    rated, single = [("speaker", 1, 3), ("speaker", 2, 0)], [("speaker", 1, "EV-1", "Of oak", 3, 3, 3, 3)]
    dataset, report = imported("chorus", written(tmp_path / "chorus", rated, single), tmp_path / "out")
    assert (dataset.products["1"].title, dataset.products["1"].description) == ("EV-1", "Of oak")
    assert places(report) == [("Broad_Query_Set_rated.csv", 3, "product without text")]


def test_bad_rows_are_refused_with_their_places(tmp_path: Path):
    rated, single = (
        [("speaker", 1, 4), ("speaker", 1, ""), ("speaker", 1, 2)],
        [("speaker", 1, "EV-1", "", "x", 3, 3, 3)],
    )
    catalog = [item("1"), item("1"), item("2", price="cheap"), item("")]
    dataset, report = imported("chorus", written(tmp_path / "chorus", rated, single, catalog), tmp_path / "out")
    assert [row.labels for row in dataset.judgments] == [(1.0, 1.0)]
    assert places(report) == [
        ("icecat-products-w_price-19k-20201127.json.gz", 2, "id given twice"),
        ("icecat-products-w_price-19k-20201127.json.gz", 3, "unusable row"),
        ("icecat-products-w_price-19k-20201127.json.gz", 4, "id"),
        ("Broad_Query_Set_individual_ratings.csv", 2, "grade"),
        ("Broad_Query_Set_rated.csv", 2, "grade"),
        ("Broad_Query_Set_rated.csv", 3, "grade"),
    ]


@pytest.mark.skipif(not (REAL / "chorus").is_dir(), reason="no real data here")
def test_real_grades_with_the_real_catalog(tmp_path: Path):
    """Real grades, laid out as the shop has them: each rater's is a label, and the catalog gives the texts."""
    pairs = real("chorus/pairs.jsonl.gz")
    rated = [(row["query"], row["product_id"], row["grade"]) for row in pairs]
    single = [(row["query"], row["product_id"], "", "", *row["raters"], row["grade"]) for row in pairs if row["raters"]]
    judged = {docid for _, docid, _ in rated}
    catalog = [row for row in real("chorus/products.jsonl.gz") if row["id"] in judged]
    source = written(tmp_path / "chorus", rated, single, catalog)
    dataset, report = imported("chorus", source, tmp_path / "out")
    assert report.read == {
        "products": len(catalog), "pairs with single grades": len(single), "judgments": len(rated),
    }  # fmt: skip
    assert len(dataset.judgments) == len(rated) - report.refused.get("product without text", 0)
    votes = {(row["query"], row["product_id"]): row["raters"] for row in pairs}
    found = {(dataset.queries[row.query_id].text, row.product_id): row.labels for row in dataset.judgments}
    for key, labels in found.items():
        assert labels == tuple(int(vote) / 3 for vote in votes[key] or ())
