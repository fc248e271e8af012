"""ESCI's letters, countries and splits; products joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.data.importing.grading import read_scale

from .writing import REAL, grades, imported, parquet, places, real


def example(query: str, product: str, label: object, locale: str = "us", split: str = "train", **more: object) -> dict:
    return {
        "example_id": 1,
        "query": query,
        "query_id": len(query),
        "product_id": product,
        "product_locale": locale,
        "esci_label": label,
        "small_version": 1,
        "large_version": 1,
        "split": split,
        **more,
    }


def item(product: str, locale: str = "us", title: str | None = "Oak desk", **more: object) -> dict:
    return {
        "product_id": product,
        "product_title": title,
        "product_description": "<b>For</b> writing.",
        "product_bullet_point": "Solid oak\nTwo drawers",
        "product_brand": "Oakley",
        "product_color": "Brown",
        "product_locale": locale,
        **more,
    }


def written(folder: Path, examples: list[dict], products: list[dict]) -> Path:
    parquet(folder / "shopping_queries_dataset_examples.parquet", examples)
    parquet(folder / "shopping_queries_dataset_products.parquet", products)
    return folder


def test_letters_have_escis_gains(tmp_path: Path):
    examples = [example("desk", f"B{label}", label) for label in "ESCI"]
    source = written(tmp_path / "esci", examples, [item(f"B{label}") for label in "ESCI"])
    dataset, _ = imported("esci", source, tmp_path / "out")
    assert grades(dataset) == {("desk", "BE"): 1.0, ("desk", "BS"): 0.1, ("desk", "BC"): 0.01, ("desk", "BI"): 0.0}


def test_words_are_the_letters_and_other_worths_can_be_given(tmp_path: Path):
    examples = [example("desk", f"B{i}", word) for i, word in enumerate(("Exact", "Substitute", "Complement"))]
    source = written(tmp_path / "esci", examples, [item(f"B{i}") for i in range(3)])
    assert list(grades(imported("esci", source, tmp_path / "out")[0]).values()) == [1.0, 0.1, 0.01]
    scale = read_scale("exact=1,substitute=0.5,complement=0.2,irrelevant=0")
    assert list(grades(imported("esci", source, tmp_path / "other", scale=scale)[0]).values()) == [1.0, 0.5, 0.2]


def test_products_are_joined_and_their_bullets_follow_the_description(tmp_path: Path):
    source = written(tmp_path / "esci", [example("desk", "B1", "E")], [item("B1"), item("B2")])
    dataset, report = imported("esci", source, tmp_path / "out")
    assert dataset.products["B1"].model_dump(exclude_none=True) == {
        "product_id": "B1",
        "title": "Oak desk",
        "description": "For writing.\nSolid oak\nTwo drawers",
        "brand": "Oakley",
        "attributes": {"color": "Brown"},
    }
    assert report.read == {"products": 2, "judgments": 1}


def test_its_own_split_and_ids_and_the_small_version_are_kept(tmp_path: Path):
    examples = [example("desk", "B1", "E"), example("red sofa", "B1", "I", split="test", small_version=0)]
    dataset, _ = imported("esci", written(tmp_path / "esci", examples, [item("B1")]), tmp_path / "out")
    assert [(row.query_id, row.split, row.tags) for row in dataset.queries.values()] == [
        ("4", "train", ("small_version",)), ("8", "test", ()),
    ]  # fmt: skip


def test_one_locale_is_read_and_the_others_are_counted(tmp_path: Path):
    examples = [example("desk", "B1", "E"), example("mesa", "B1", "S", "es"), example("escritorio", "B1", "E", "es")]
    products = [item("B1"), item("B1", "es", "Mesa de roble")]
    source = written(tmp_path / "esci", examples, products)
    dataset, report = imported("esci", source, tmp_path / "out", locale="es")
    assert [row.text for row in dataset.queries.values()] == ["mesa", "escritorio"]
    assert dataset.products["B1"].title == "Mesa de roble"
    assert report.found["judgments of other locales"] == "1 of us; left out"
    assert report.refused == {}
    with pytest.raises(BadInput, match="--locale fr: ESCI has us, es, jp"):
        imported("esci", source, tmp_path / "other", locale="fr")


def test_joined_parts_are_read_too(tmp_path: Path):
    source = parquet(tmp_path / "joined" / "train-00000.parquet", [{**example("desk", "B1", "E"), **item("B1")}]).parent
    dataset, _ = imported("esci", source, tmp_path / "out")
    assert (dataset.products["B1"].title, grades(dataset)) == ("Oak desk", {("desk", "B1"): 1.0})


def test_bad_rows_are_refused_with_their_place(tmp_path: Path):
    examples = [
        example("desk", "B1", "E"),
        example("desk", "B2", "X"),
        example("desk", "B3", None),
        example("desk", "B4", "E"),
        example("desk", "B5", "E"),
        example("desk", "B1", "S"),
        example("sofas", "B1", "E", split="dress rehearsal"),
    ]
    products = [item("B1"), item("B2"), item("B3"), item("B5", title=None), item("B1"), item("")]
    dataset, report = imported("esci", written(tmp_path / "esci", examples, products), tmp_path / "out")
    assert grades(dataset) == {("desk", "B1"): 1.0}
    product_file, example_file = (f"shopping_queries_dataset_{name}.parquet" for name in ("products", "examples"))
    assert places(report) == [
        (product_file, 5, "product_id given twice"),
        (product_file, 6, "product_id"),
        (example_file, 2, "grade"),
        (example_file, 3, "grade"),
        (example_file, 4, "product without text"),
        (example_file, 5, "product"),
        (example_file, 6, "pair given twice"),
        (example_file, 7, "split"),
    ]


@pytest.mark.skipif(not (REAL / "esci").is_dir(), reason="no real data here")
def test_real_pairs_in_escis_own_form(tmp_path: Path):
    """Real texts and labels, laid out as ESCI has them; what the import counts is what is there."""
    pairs = [row for row in real("esci/pairs.jsonl.gz") if row["product_id"]]
    numbers = {query: i for i, query in enumerate(dict.fromkeys(" ".join(row["query"].split()) for row in pairs))}
    examples, products = [], {}
    for row in pairs:
        query = " ".join(row["query"].split())
        examples.append(example(query, row["product_id"], row["label"], row["locale"], query_id=numbers[query]))
        products.setdefault(
            row["product_id"],
            item(
                row["product_id"],
                row["locale"],
                row["title"],
                product_description=row["description"],
                product_bullet_point=row["bullets"],
                product_brand=row["brand"],
                product_color=row["color"],
            ),
        )
    source = written(tmp_path / "esci", examples, list(products.values()))
    dataset, report = imported("esci", source, tmp_path / "out")
    assert report.read == {"products": len(products), "judgments": len(pairs)}
    assert len(pairs) - len(dataset.judgments) == sum(report.refused.values())
    gains = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
    first = {}
    for row in pairs:
        first.setdefault((" ".join(row["query"].split()), row["product_id"]), gains[row["label"]])
    assert grades(dataset) == first
