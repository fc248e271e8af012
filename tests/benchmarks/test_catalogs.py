"""The two further shops: what the conversion of real rows keeps, and what the made-up one promises."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from catalogs import chorus, strict_shop, worth
from gen_rerank import BadInput, Dataset, Product, Query

ROOT = Path(__file__).parents[2]
CHORUS = ROOT.parent / "shared" / "data" / "chorus"

ROW = {
    "query": "laptop",
    "product_id": "7",
    "title": "Privacy filter 15",
    "name": "PF15",
    "brand": "Filtrex",
    "description": "",
    "price": 5795,
    "attributes": {
        "attr_t_product_colour": "Black",
        "attr_n_maximum_screen_size": 15.0,
        "attr_b_easy_to_install": True,
        "attr_b_wall_mount": False,
        "attr_n_weight": float("nan"),
        "attr_b_bluetooth": True,
        "attr_t_bluetooth": "4.0 EDR",
    },
    "grade": 1,
    "raters": ["0", "1", "3"],
    "split": "test",
}


def written(folder: Path, *rows: dict) -> Path:
    with gzip.open(folder / "pairs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def test_a_row_of_chorus_becomes_our_records(tmp_path):
    plain = {key: value for key, value in ROW.items() if key != "brand"}
    data = chorus(written(tmp_path, ROW, {**plain, "product_id": "8", "grade": 3, "raters": None}))
    assert data.products["7"] == Product(
        product_id="7",
        title="Privacy filter 15",
        brand="Filtrex",
        price=57.95,
        attributes={
            "product colour": "Black",
            "maximum screen size": "15",
            "easy to install": "yes",
            "wall mount": "no",
            "bluetooth": "yes, 4.0 EDR",
        },
    )
    assert data.products["8"].brand is None
    assert [query.text for query in data.of("test").queries.values()] == ["laptop"]
    assert [row.relevance for row in data.judgments] == [1 / 3, 1.0]
    assert [row.labels for row in data.judgments] == [(0.0, 1 / 3, 1.0), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "Another"}, "product 7 differs"),
        ({"product_id": "8", "split": "train"}, "in two splits"),
        ({}, "judged before"),
        ({"product_id": "8", "grade": 4}, r"gz:2: not a judged pair"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        chorus(written(tmp_path, ROW, ROW | change))


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        chorus(tmp_path)


def test_the_strict_shop_is_what_it_says():
    data = strict_shop(1)
    assert data.fingerprint == strict_shop(1).fingerprint != strict_shop(2).fingerprint
    assert Counter(query.split for query in data.queries.values()) == {"train": 50, "validation": 30, "test": 120}
    assert [len(data.of(split).judgments) for split in ("train", "validation")] == [400, 240]
    assert all(len(row.labels) == 3 for row in data.judgments)
    thirds = {0.0, 1 / 3, 2 / 3, 1.0}
    assert {grade for row in data.judgments for grade in (row.relevance, *row.labels)} == thirds
    disagree = sum(len(set(row.labels)) > 1 for row in data.judgments) / len(data.judgments)
    assert 0.1 < disagree < 0.6


def test_strict_people_halve_half_matches_and_distrust_what_looks_cheap():
    query = Query(query_id="q", text="sofa", split="test")
    sofa = Product(product_id="p", title="Lindvik Sofa", brand="Lindvik")
    cheap = Product(product_id="p", title="Lindvik Everyday Sofa", brand="Lindvik")
    nameless = Product(product_id="p", title="Sofa", brand="Unbranded")
    assert [worth(r, query, sofa) for r in (1.0, 0.5, 0.0)] == [3.0, 0.75, 0.0]
    assert worth(1.0, query, cheap) == worth(1.0, query, nameless) == 2.0
    assert worth(0.1, query, cheap) == 0.0
    assert worth(1.0, query.model_copy(update={"tags": ("brand_excluded",)}), nameless) == 3.0


def test_seed_0_is_the_samples():
    with pytest.raises(BadInput, match="seed 0"):
        strict_shop(0)


@pytest.mark.skipif(not CHORUS.is_dir(), reason="needs the Chorus data beside the project")
def test_the_real_chorus_is_read_whole(tmp_path):
    data = chorus(CHORUS)
    assert (len(data.products), len(data.queries), len(data.judgments)) == (1697, 85, 2286)
    assert {split: len(data.of(split).judgments) for split in ("train", "validation", "test")} == {
        "train": 1298,
        "validation": 325,
        "test": 663,
    }
    assert Counter(len(row.labels) for row in data.judgments) == {3: 1969, 0: 317}
    data.save(tmp_path)
    assert Dataset.load(tmp_path).fingerprint == data.fingerprint
