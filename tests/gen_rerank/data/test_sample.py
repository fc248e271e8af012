"""The embedded sample: what it promises of its products, queries, splits, candidates, rules and annotators."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean, pstdev

import numpy as np
import pytest

from gen_rerank.bm25 import BM25
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Product, Split, product_text
from gen_rerank.data.sample import make_sample, write_sample
from gen_rerank.data.sample.annotators import PLANTED, PlantedNoise, annotate
from gen_rerank.data.sample.catalog import Item
from gen_rerank.data.sample.intents import SLICES, held_out, misspell
from gen_rerank.data.sample.relevance import Intent, relevance
from gen_rerank.data.sample.shop import load_shop
from gen_rerank.errors import BadInput

FILES = ("products.jsonl", "queries.jsonl", "judgments.jsonl", "README.md")


@pytest.fixture
def folder(sample_folder: Path) -> Path:
    return sample_folder


@pytest.fixture(scope="module")
def sample(sample_shop: Dataset) -> Dataset:
    return sample_shop


@pytest.fixture(scope="module")
def texts(sample: Dataset) -> dict[Split, list[str]]:
    return {
        split: [query.text for query in sample.of(split).queries.values()] for split in ("train", "validation", "test")
    }


# The files


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path):
    code = f"from gen_rerank.data.sample import write_sample; write_sample({str(tmp_path / 'there')!r}, 7, 1000, 120)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    write_sample(tmp_path / "here", 7, 1000, 120)
    for name in FILES:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_another_seed_gives_another_shop():
    one, two = (make_sample(seed, products=1000, queries=44) for seed in (0, 1))
    assert one.fingerprint != two.fingerprint
    assert [query.text for query in one.queries.values()] != [query.text for query in two.queries.values()]


def test_counts_are_as_promised(sample: Dataset):
    assert len(sample.products) == len(sample.queries) == 3000
    assert Counter(query.split for query in sample.queries.values()) == {"train": 2300, "validation": 300, "test": 400}
    assert all(16 <= len(rows) <= 20 for rows in sample.by_query().values())
    assert set(sample.by_query()) == set(sample.queries)


def test_the_readme_says_that_it_is_synthetic_and_states_the_planted_noise(folder: Path, sample: Dataset):
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "synthetic" in readme
    assert sample.fingerprint in readme
    assert all(str(value) in readme for value in (PLANTED.sigma_min, PLANTED.sigma_max, PLANTED.width, PLANTED.slip))
    assert all(f"| {tag} |" in readme for tag in SLICES)


def test_too_few_products_for_the_queries_is_said_in_words():
    with pytest.raises(BadInput, match="more products or fewer queries"):
        make_sample(products=10, queries=30)


# Products


def test_there_are_six_departments_and_many_product_types(sample: Dataset):
    departments = Counter(product.category.split(" > ")[0] for product in sample.products.values())
    assert len(departments) == 6
    assert min(departments.values()) >= 200
    assert len(load_shop().kinds) >= 20


def test_products_are_short_complete_and_plausible(sample: Dataset):
    shop = load_shop()
    for product in sample.products.values():
        assert 1 <= len(product.title.split()) <= 18
        assert 5 <= len(product.description.split()) <= 30
        assert 3 <= len(product.attributes) <= 5
        assert 2 < product.price < 2000
    assert 4 <= mean(len(product.title.split()) for product in sample.products.values()) <= 12
    assert {product.available for product in sample.products.values()} == {None, True, False}
    assert all(
        any(name in product_text(p).lower() for k in shop.kinds.values() for name in (k.name, *k.synonyms))
        for p in sample.products.values()
    )


def test_some_facts_are_stated_only_in_the_attributes(sample: Dataset):
    missing = [
        value not in p.title.lower()
        for p in sample.products.values()
        for name, value in p.attributes.items()
        if name == "colour"
    ]
    assert 0.2 < mean(missing) < 0.8


def test_the_vocabulary_is_small_enough_to_be_learnt_from_nothing(sample: Dataset):
    words = {word for row in sample.products.values() for word in re.findall(r"\w+", product_text(row).lower())}
    words |= {word for row in sample.queries.values() for word in re.findall(r"\w+", row.text.lower())}
    assert len(words) < 2000


# Queries and splits


@pytest.mark.parametrize("tag", SLICES)
def test_every_slice_is_in_every_split(sample: Dataset, tag: str):
    counts = Counter(query.split for query in sample.queries.values() if tag in query.tags)
    assert counts["test"] >= 25
    assert counts["validation"] >= 20
    assert counts["train"] >= 150


def test_no_query_text_occurs_twice(sample: Dataset):
    assert len({query.text for query in sample.queries.values()}) == len(sample.queries)
    assert mean(2 <= len(query.text.split()) <= 14 for query in sample.queries.values()) > 0.9


def test_training_and_validation_never_see_the_held_out_brands(sample: Dataset):
    unseen = re.compile("|".join(load_shop().unseen_brands))
    for split in ("train", "validation"):
        part = sample.of(split)
        assert not any(unseen.search(query.text) for query in part.queries.values())
        assert not any(unseen.search(product_text(sample.products[row.product_id])) for row in part.judgments)


def test_the_test_split_mixes_held_out_and_known_brands(sample: Dataset):
    unseen = re.compile("|".join(load_shop().unseen_brands))
    part = sample.of("test")
    share = mean(bool(unseen.search(product_text(sample.products[row.product_id]))) for row in part.judgments)
    assert 0.15 < share < 0.75
    for tag in ("brand_explicit", "brand_implicit", "brand_excluded"):
        named = [bool(unseen.search(query.text)) for query in part.queries.values() if tag in query.tags]
        assert mean(named) >= 0.5, tag
        assert not all(named), tag


def test_held_out_phrasings_are_in_the_test_split_and_nowhere_else(texts: dict[Split, list[str]]):
    used: Counter[str] = Counter()
    for place, phrasings in held_out(load_shop()).items():
        for phrasing in phrasings:
            pattern = re.compile(".+".join(re.escape(part) for part in re.split(r"\{\w+\}", phrasing)))
            find = pattern.fullmatch if place.startswith("frames") else pattern.search
            assert not [text for text in texts["train"] + texts["validation"] if find(text)], phrasing
            used[place.split(".")[0]] += sum(bool(find(text)) for text in texts["test"])
    assert min(used[place] for place in ("frames", "brand", "attributes", "needs", "whom", "both")) >= 5


# Candidates


def test_every_query_has_right_middling_and_wrong_candidates(sample: Dataset):
    for rows in sample.by_query().values():
        grades = np.array([row.relevance for row in rows])
        assert (grades >= 0.8).sum() >= 1
        assert (grades <= 0.3).sum() >= 3
        assert ((grades > 0.3) & (grades < 0.8)).sum() >= 2
        assert np.allclose(grades * 20, np.round(grades * 20))


def test_at_least_four_candidates_are_the_best_bm25_hits(sample: Dataset):
    index, ids = BM25([product_text(row) for row in sample.products.values()]), list(sample.products)
    judged = sample.by_query()
    for query in sample.of("test").queries.values():
        best = {ids[place] for place in index.top(query.text, 4)}
        assert best <= {row.product_id for row in judged[query.query_id]}, query.text


def test_word_overlap_does_not_solve_it(sample: Dataset):
    index, places = (
        BM25([product_text(row) for row in sample.products.values()]),
        {key: place for place, key in enumerate(sample.products)},
    )
    rng, discounts = np.random.default_rng(0), 1 / np.log2(np.arange(2, 7))
    part, found = sample.of("test"), {"random": [], "bm25": []}
    for query_id, rows in part.by_query().items():
        grades = rng.permutation([row.relevance for row in rows])
        ideal = np.sort(grades)[::-1][:5] @ discounts
        scores = index.scores(part.queries[query_id].text)
        order = sorted(rows, key=lambda row: -scores[places[row.product_id]])
        found["random"].append(grades[:5] @ discounts / ideal)
        found["bm25"].append(np.array([row.relevance for row in order[:5]]) @ discounts / ideal)
    assert 0.38 < mean(found["random"]) < 0.55
    assert 0.60 < mean(found["bm25"]) < 0.74


# Rules


def thing(kind: str, brand: str = "Lindvik", **attributes: str) -> Item:
    return Item(
        Product(
            product_id="p", title=kind, brand=brand, attributes={k.replace("_", " "): v for k, v in attributes.items()}
        ),
        kind,
    )


NAVY_SOFA = Intent("sofa", wants=(("colour", "navy"), ("seats", "3 seats")))
BAG = Intent("laptop bag", wants=(("fits laptop", "15 inch"),))
CHARGER = Intent("charger", wants=(("fits", "Pixora 8"),))
IMPLICIT = Intent("charger", brand="Pixora", brand_rule="made_for")
CHILD = Intent(need="child", wants=(("theme", "dinosaurs"), ("age", "6 to 8")))
TENT_AND_BAG = Intent("tent", "sleeping bag")


@pytest.mark.parametrize(
    ("intent", "item", "expected"),
    [
        (NAVY_SOFA, thing("sofa", colour="navy", seats="3 seats"), 1.0),
        (NAVY_SOFA, thing("sofa", colour="blue", seats="3 seats"), 0.8),
        (NAVY_SOFA, thing("sofa", colour="red", seats="3 seats"), 0.5),
        (NAVY_SOFA, thing("sofa", colour="navy", seats="2 seats"), 0.6),
        (NAVY_SOFA, thing("armchair", colour="navy"), 0.35),
        (NAVY_SOFA, thing("sofa cover", colour="navy", fits_sofa="3 seats"), 0.1),
        (NAVY_SOFA, thing("kettle", colour="navy"), 0.0),
        (Intent("sofa cover"), thing("sofa"), 0.1),
        (Intent("sofa"), thing("sofa cover"), 0.15),
        (BAG, thing("laptop bag", fits_laptop="15 inch"), 1.0),
        (BAG, thing("laptop bag", fits_laptop="16 inch"), 0.85),
        (BAG, thing("laptop bag", fits_laptop="17 inch"), 0.7),
        (BAG, thing("laptop bag", fits_laptop="14 inch"), 0.15),
        (BAG, thing("backpack", fits_laptop="15 inch"), 0.5),
        (CHARGER, thing("charger", fits="Pixora 8"), 1.0),
        (CHARGER, thing("charger", fits="Pixora 9"), 0.25),
        (CHARGER, thing("charger", fits="Lumeo 4"), 0.15),
        (IMPLICIT, thing("charger", "Norvane", fits="Pixora 9"), 1.0),
        (IMPLICIT, thing("charger", "Pixora", fits="Pixora 7"), 1.0),
        (IMPLICIT, thing("charger", "Norvane", fits="Lumeo 4"), 0.15),
        (IMPLICIT, thing("phone", "Pixora", model="Pixora 8"), 0.1),
        (Intent("desk", brand="Lindvik", brand_rule="only"), thing("desk", "Lindvik"), 1.0),
        (Intent("desk", brand="Lindvik", brand_rule="only"), thing("desk", "Oakhollow"), 0.5),
        (Intent("desk", brand="Lindvik", brand_rule="not"), thing("desk", "Lindvik"), 0.1),
        (Intent("desk", brand="Lindvik", brand_rule="not"), thing("desk", "Unbranded"), 1.0),
        (Intent("desk", brand="Unbranded", brand_rule="none"), thing("desk", "Unbranded"), 1.0),
        (Intent("desk", brand="Unbranded", brand_rule="none"), thing("desk", "Lindvik"), 0.1),
        (TENT_AND_BAG, thing("tent", includes="sleeping bag"), 1.0),
        (TENT_AND_BAG, thing("tent"), 0.6),
        (TENT_AND_BAG, thing("sleeping bag"), 0.6),
        (TENT_AND_BAG, thing("tent pegs"), 0.15),
        (Intent("sleeping bag"), thing("tent", includes="sleeping bag"), 0.5),
        (Intent(need="coffee on the way"), thing("travel mug", feature="insulated"), 1.0),
        (Intent(need="coffee on the way"), thing("travel mug", feature="single wall"), 0.4),
        (Intent(need="coffee on the way"), thing("mug"), 0.15),
        (CHILD, thing("puzzle", theme="dinosaurs", age="6 to 8"), 1.0),
        (CHILD, thing("puzzle", theme="dragons", age="6 to 8"), 0.55),
        (CHILD, thing("puzzle", theme="dinosaurs", age="9 to 12"), 0.6),
        (CHILD, thing("puzzle", theme="trains", age="9 to 12"), 0.2),
        (CHILD, thing("sofa"), 0.0),
    ],
)
def test_the_rules(intent: Intent, item: Item, expected: float):
    assert relevance(intent, item) == expected


def test_every_relative_attribute_value_and_need_names_something_that_exists():
    shop = load_shop()
    for kind in shop.kinds.values():
        assert all(name in shop.kinds for name in kind.relatives), kind.name
        assert kind.sold_with is None or kind.sold_with in shop.kinds
    for need in shop.needs.values():
        assert all(name in shop.kinds for name in need.kinds), need.name
        assert all(value in shop.attributes[name].values for name, value in need.wants), need.name
    for attribute in shop.attributes.values():
        assert all(value in attribute.values for value in (*attribute.words, *attribute.spoken)), attribute.name
    brands = [name for row in shop.brands.values() for name in (*row.seen, *row.unseen)]
    assert len(set(brands)) == len(brands)


def test_misspellings_differ_from_the_word_and_recur():
    for word in ("leather", "mug", "desk", "book", "t-shirt"):
        ways = {misspell(word, random.Random(seed)) for seed in range(50)}
        assert word not in ways
        assert 1 <= len(ways) <= 2


# Annotators


def test_labels_are_five_grades_on_the_grid(sample: Dataset):
    assert all(len(row.labels) == PLANTED.annotators == 5 for row in sample.judgments)
    assert {label for row in sample.judgments for label in row.labels} == {tenth / 10 for tenth in range(11)}


def test_annotators_disagree_more_near_the_transitions():
    rng = random.Random(0)
    spread = {
        grade: pstdev(label for _ in range(4000) for label in annotate(grade, rng))
        for grade in (0.0, 0.2, 0.35, 0.5, 0.65, 0.8)
    }
    for transition in PLANTED.transitions:
        assert spread[transition] > 1.25 * max(spread[clear] for clear in (0.0, 0.35, 0.65)), transition


def test_the_planted_width_peaks_at_a_transition_and_is_what_the_labels_show():
    assert PLANTED.sigma(0.5) == pytest.approx(PLANTED.sigma_max)
    assert PLANTED.sigma(1.0) == pytest.approx(PLANTED.sigma_min, abs=0.003)
    rng, calm = random.Random(0), PlantedNoise(slip=0.0)
    labels = [label for _ in range(4000) for label in annotate(0.5, rng, calm)]
    assert pstdev(labels) == pytest.approx((PLANTED.sigma_max**2 + 0.1**2 / 12) ** 0.5, rel=0.03)
    assert mean(labels) == pytest.approx(0.5, abs=0.01)


def test_an_annotator_slips_now_and_then():
    rng, slips = random.Random(0), PlantedNoise(sigma_min=0.0, sigma_max=0.0)
    labels = [label for _ in range(4000) for label in annotate(0.0, rng, slips)]
    assert mean(label > 0.0 for label in labels) == pytest.approx(PLANTED.slip * 10 / 11, abs=0.004)


# The folder


def test_a_sample_takes_the_place_of_a_sample_and_of_nothing_else(tmp_path: Path):
    for seed in (7, 8):
        write_sample(tmp_path / "shop", seed, 1000, 30)
    assert f"seed 8 (fingerprint `{Dataset.load(tmp_path / 'shop').fingerprint}`)" in (
        tmp_path / "shop" / "README.md"
    ).read_text(encoding="utf-8")
    (tmp_path / "shop" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="already exists; choose another place or remove it"):
        write_sample(tmp_path / "shop", 9, 1000, 30)
    assert (tmp_path / "shop" / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_a_sample_that_does_not_load_never_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Dataset, "save", lambda self, folder: (folder / "products.jsonl").write_text("{"))
    with pytest.raises(
        BadInput, match=r"nothing was written, because the result does not open: .*/shop/products\.jsonl: it"
    ):
        write_sample(tmp_path / "shop", 7, 1000, 30)
    assert list(tmp_path.iterdir()) == []
