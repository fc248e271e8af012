"""Amazebay's pairs, whose clusters stay whole, and its catalog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.data.importing.splitting import SplitPlan
from gen_rerank.data.public_sets.amazebay import import_amazebay_catalog

from .writing import grades, imported, json_lines, parquet, places


def pair(query: str, asin: str, score: object, cluster: object = None, **more: object) -> dict:
    return {
        "query": query,
        "parent_asin": asin,
        "title": f"Title of {asin}",
        "description": f"About {asin}.",
        "combined_text": f"Title of {asin} About {asin}.",
        "relevance_label": "Exact",
        "relevance_score": score,
        "cluster_id": cluster,
        **more,
    }


def test_scores_are_the_relevance_and_texts_the_products(tmp_path: Path):
    source = parquet(tmp_path / "pairs.parquet", [pair("oak desk", "A1", 0.85, 1), pair("oak desk", "A2", 0.0, 1)])
    dataset, report = imported("amazebay-relevance", source, tmp_path / "out")
    assert grades(dataset) == {("oak desk", "A1"): 0.85, ("oak desk", "A2"): 0.0}
    assert dataset.products["A1"].model_dump(exclude_defaults=True) == {
        "product_id": "A1", "title": "Title of A1", "description": "About A1.",
    }  # fmt: skip
    assert all(row.labels == () for row in dataset.judgments)
    assert report.read == {"judgments": 2}
    assert report.found["scale"] == "0-1"


def test_the_queries_of_a_cluster_are_in_one_split(tmp_path: Path):
    rows = [pair(f"query {i}", f"A{i}", 0.5, i % 7) for i in range(70)]
    parts = tmp_path / "data"
    parquet(parts / "train-00000-of-00002.parquet", rows[:30])
    parquet(parts / "train-00001-of-00002.parquet", rows[30:])
    (tmp_path / "README.md").write_text("A data set.")
    dataset, report = imported(
        "amazebay-relevance", tmp_path, tmp_path / "out", plan=SplitPlan((0.4, 0.3, 0.3), seed=1)
    )
    splits = {i: {row.split for row in dataset.queries.values() if int(row.text.split()[1]) % 7 == i} for i in range(7)}
    assert all(len(found) == 1 for found in splits.values())
    assert sorted(found for (found,) in splits.values()) == ["test"] * 2 + ["train"] * 3 + ["validation"] * 2
    assert report.found["clusters"] == "7, of 70 queries, each whole in a split, drawn by 0.4, 0.3, 0.3, seed 1"
    assert report.read == {"judgments": 70}


def test_a_query_without_a_cluster_is_its_own(tmp_path: Path):
    rows = [
        pair("desk", "A1", 1, None),
        pair("Desk ", "A2", 1, 5),
        pair("lamp", "A3", 1, 5),
        pair("sofa", "A4", 1, None),
    ]
    source = parquet(tmp_path / "pairs.parquet", rows)
    dataset, report = imported("amazebay-relevance", source, tmp_path / "out", plan=SplitPlan((0.5, 0.0, 0.5)))
    split = {row.text: row.split for row in dataset.queries.values()}
    assert split["desk"] == split["Desk"] == split["lamp"] != split["sofa"]
    assert report.found["clusters"] == "1, of 2 queries, each whole in a split, drawn by 0.5, 0, 0.5, seed 0"


def test_bad_pairs_are_refused_with_their_rows(tmp_path: Path):
    rows = [
        pair("desk", "A1", 1.0),
        pair("desk", "A2", 1.01),
        pair("desk", "A3", None),
        pair("desk", "A4", float("nan")),
        pair(" ", "A5", 0.5),
        pair("desk", ["A6"], 0.5),
        pair("desk", "A7", 0.5, title=None),
        pair("desk", "A1", 0.5),
        pair("desk", "A8", 0.5),
    ]
    source = json_lines(tmp_path / "pairs.jsonl", rows)
    source.write_text(source.read_text() + "{broken\n")
    dataset, report = imported("amazebay-relevance", source, tmp_path / "out")
    assert grades(dataset) == {("desk", "A1"): 1.0, ("desk", "A8"): 0.5}
    assert places(report) == [
        ("pairs.jsonl", 2, "grade"),
        ("pairs.jsonl", 3, "grade"),
        ("pairs.jsonl", 4, "grade"),
        ("pairs.jsonl", 5, "query"),
        ("pairs.jsonl", 6, "product id"),
        ("pairs.jsonl", 7, "product"),
        ("pairs.jsonl", 8, "pair given twice"),
        ("pairs.jsonl", 10, "not valid JSON"),
    ]
    assert report.read["judgments"] == len(dataset.judgments) + sum(report.refused.values()) == 10


def item(asin: str, **more: object) -> dict:
    return {
        "parent_asin": asin,
        "title": f"Title of {asin}",
        "average_rating": 4.5,
        "rating_number": 12,
        "features": ["Solid oak", "Two drawers"],
        "description": ["A desk.", "For writing."],
        "price": "129.95",
        "images": ["http://nowhere/1.jpg"],
        "videos": [],
        "store": "Oakley",
        "categories": ["Furniture", "Desks"],
        "details": json.dumps({"Material": "Oak", "Dimensions": {"Width": "120 cm"}, "Colour": None}),
        "bought_together": None,
        "subtitle": None,
        "author": None,
        "main_category": "Home",
        **more,
    }


def test_a_catalog_becomes_products(tmp_path: Path):
    source = parquet(tmp_path / "catalog.parquet", [item("A1")])
    report = import_amazebay_catalog(source, tmp_path / "out")
    assert Dataset.load(tmp_path / "out").products["A1"].model_dump() == {
        "product_id": "A1",
        "title": "Title of A1",
        "description": "A desk.\nFor writing.\nSolid oak\nTwo drawers",
        "brand": "Oakley",
        "category": "Furniture > Desks",
        "attributes": {"Material": "Oak", "Dimensions": "Width: 120 cm"},
        "price": 129.95,
        "available": None,
    }
    assert (report.read, report.kept) == ({"products": 1}, {"products": 1})


def test_prices_of_a_catalog_are_texts(tmp_path: Path):
    prices = {"A": "$1,299.00", "B": "None", "C": None, "D": "-5", "E": "from 12.99", "F": "", "G": "1,299"}
    source = json_lines(tmp_path / "catalog.jsonl.gz", [item(asin, price=price) for asin, price in prices.items()])
    report = import_amazebay_catalog(source, tmp_path / "out")
    found = {key: row.price for key, row in Dataset.load(tmp_path / "out").products.items()}
    assert found == {"A": 1299.0, "B": None, "C": None, "D": None, "E": 12.99, "F": None, "G": 1299.0}
    assert report.changes["price left out: negative"].count == 1
    assert report.changes["price left out: no number"].examples[0].before == "None"


def test_what_a_catalog_may_lack_and_what_is_kept_when_asked(tmp_path: Path):
    bare = item(
        "A2", categories=[], features=None, details="{}", author={"name": "Ada", "about": ["x"]}, subtitle="Vol. 2"
    )
    source = json_lines(tmp_path / "catalog.jsonl", [bare])
    import_amazebay_catalog(source, tmp_path / "out", keep_rest=True)
    product = Dataset.load(tmp_path / "out").products["A2"]
    assert product.category == "Home"
    assert product.attributes == {"subtitle": "Vol. 2", "author": "Ada", "average rating": "4.5", "rating number": "12"}


def test_bad_products_of_a_catalog_are_refused_with_their_rows(tmp_path: Path):
    rows = [
        item("A1"),
        item(""),
        item("A3", title=" "),
        item("A4", details="{no"),
        item("A1", title="Again"),
        item("A6"),
    ]
    source = json_lines(tmp_path / "catalog.jsonl", rows)
    report = import_amazebay_catalog(source, tmp_path / "out")
    assert [(row.line, row.kind) for row in report.first_refused] == [
        (2, "product's product_id"), (3, "product's title"), (4, "product's details"), (5, "product given twice"),
    ]  # fmt: skip
    assert report.read == {"products": 6}
    assert report.kept == {"products": 2}
    assert Dataset.load(tmp_path / "out").products["A1"].title == "Title of A1"


def test_a_catalog_without_usable_products_leaves_nothing(tmp_path: Path):
    source = json_lines(tmp_path / "catalog.jsonl", [item("A1", title=None)])
    with pytest.raises(BadInput, match=r"no usable products \(catalog.jsonl:1: title has no text\)"):
        import_amazebay_catalog(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.jsonl"]


def test_pairs_go_with_a_catalog_that_is_there(tmp_path: Path):
    import_amazebay_catalog(json_lines(tmp_path / "catalog.jsonl", [item("A1"), item("A2")]), tmp_path / "out")
    pairs = json_lines(tmp_path / "pairs.jsonl", [pair("desk", "A1", 1.0), pair("desk", "A9", 1.0)])
    dataset, report = imported_beside(pairs, tmp_path / "out")
    assert dataset.products["A1"].brand == "Oakley"
    assert set(dataset.products) == {"A1", "A2"}
    assert places(report) == [("pairs.jsonl", 2, "unknown product")]


def imported_beside(source: Path, out: Path):
    from gen_rerank.data.importing.judging import JudgmentOptions
    from gen_rerank.data.public_sets.importing import import_public_set

    report = import_public_set("amazebay-relevance", source, out, JudgmentOptions())
    return Dataset.load(out), report
