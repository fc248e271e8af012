"""Home Depot: latin-1, grades of 1 to 3, texts and attributes in files beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from .writing import REAL, grades, imported, places, real, table

TRAIN = ("id", "product_uid", "product_title", "search_term", "relevance")
ROWS = [
    (2, 100001, "Angle, 45°", "angle bracket", 3),
    (3, 100001, "Angle, 45°", "l bracket", 2.33),
    (9, 100002, "Lamp", "l bracket", 1),
]


def written(folder: Path, rows: list, encoding: str = "latin-1") -> Path:
    table(folder / "train.csv", TRAIN, *rows, encoding=encoding)
    table(folder / "test.csv", TRAIN[:-1], (1, 100003, "Sofa", "sofa"), encoding=encoding)
    table(
        folder / "product_descriptions.csv",
        ("product_uid", "product_description"),
        (100001, "Stronger than nails."),
        (100003, "Not judged."),
        encoding=encoding,
    )
    table(
        folder / "attributes.csv",
        ("product_uid", "name", "value"),
        (100001, "MFG Brand Name", "Simpson"),
        (100001, "Bullet01", "For ½ in. bolts"),
        (100001, "Bullet02", "Galvanized"),
        (100001, "Material", "Steel"),
        ("", "", ""),
        (100002, "MFG Brand Name", "N/A"),
        (100003, "Material", "Linen"),
        encoding=encoding,
    )
    return folder


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_grades_texts_and_attributes(tmp_path: Path, encoding: str):
    dataset, report = imported("homedepot", written(tmp_path / "hd", ROWS, encoding), tmp_path / "out")
    assert grades(dataset) == {
        ("angle bracket", "100001"): 1.0, ("l bracket", "100001"): 0.665, ("l bracket", "100002"): 0.0,
    }  # fmt: skip
    assert dataset.products["100001"].model_dump(exclude_none=True) == {
        "product_id": "100001",
        "title": "Angle, 45°",
        "description": "Stronger than nails.\nFor ½ in. bolts\nGalvanized",
        "brand": "Simpson",
        "attributes": {"Material": "Steel"},
    }
    assert dataset.products["100002"].brand is None
    assert set(dataset.products) == {"100001", "100002"}
    assert all(row.labels == () for row in dataset.judgments)
    assert report.read == {"judgments": 3, "descriptions": 2, "attributes": 7}
    assert places(report) == [("attributes.csv", 6, "unusable row")]


def test_the_judgments_alone_are_enough(tmp_path: Path):
    source = table(tmp_path / "train.csv", TRAIN, *ROWS)
    dataset, _ = imported("homedepot", source, tmp_path / "out")
    assert dataset.products["100001"].model_dump(exclude_defaults=True) == {
        "product_id": "100001", "title": "Angle, 45°",
    }  # fmt: skip


def test_bad_rows_are_refused_with_their_lines(tmp_path: Path):
    bad = [
        (4, 100001, "Angle", "desk", 3.5),
        (5, 100005, "Angle", "desk", ""),
        (6, 100004, "", "desk", 3),
        (7, 100001, "Angle", "", 2),
    ]
    dataset, report = imported("homedepot", table(tmp_path / "train.csv", TRAIN, *ROWS, *bad), tmp_path / "out")
    assert len(dataset.judgments) == 3
    assert places(report) == [
        ("train.csv", 5, "grade"),
        ("train.csv", 6, "grade"),
        ("train.csv", 7, "product"),
        ("train.csv", 8, "query"),
    ]


@pytest.mark.skipif(not (REAL / "homedepot").is_dir(), reason="no real data here")
def test_real_judgments_in_the_sets_own_form(tmp_path: Path):
    """Real judgments, laid out as the set has them, come back to the last digit."""
    queries = {row["query_id"]: row["text"] for row in real("homedepot/queries.jsonl.gz")}
    titles = {row["product_id"]: row["title"] for row in real("homedepot/products.jsonl.gz")}
    rows = [
        (i, row["product_id"], titles[row["product_id"]], queries[row["query_id"]], round(1 + 2 * row["relevance"], 4))
        for i, row in enumerate(real("homedepot/judgments.jsonl.gz")[:2000])
    ]
    dataset, report = imported("homedepot", table(tmp_path / "train.csv", TRAIN, *rows), tmp_path / "out")
    expected: dict[tuple[str, str], float] = {}
    for _, product, _, query, grade in rows:
        expected.setdefault((" ".join(query.split()), product), round((grade - 1) / 2, 6))
    assert len(rows) == len(dataset.judgments) + sum(report.refused.values())
    assert {key: round(grade, 6) for key, grade in grades(dataset).items()} == expected
