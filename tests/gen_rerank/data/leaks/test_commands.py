"""`gen-rerank decontaminate` and `split` as people use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import Dataset, Judgment, Product, Query
from tests.conftest import complaint

PRODUCTS = {f"p{i}": Product(product_id=f"p{i}", title=f"thing {i}") for i in range(3)}


def write(folder: Path, products: dict[str, Product] = PRODUCTS, tags: tuple[str, ...] = (), **queries: str) -> Path:
    """Queries by id; the id's first letter says the split: t, v or e (for test). All products are judged for each."""
    splits = {"t": "train", "v": "validation", "e": "test"}
    rows = {key: Query(query_id=key, text=text, split=splits[key[0]], tags=tags) for key, text in queries.items()}
    judgments = tuple(Judgment(query_id=key, product_id=product, relevance=0.5) for key in rows for product in products)
    Dataset(products, rows, judgments).save(folder)
    return folder


@pytest.fixture
def against(tmp_path: Path) -> Path:
    other = {"x": Product(product_id="x", title="Thing 0")}
    return write(tmp_path / "test", other, e1="oak writing desk", e2="steel kettle", t9="red lamp")


def test_what_leaks_goes_and_is_shown_side_by_side(run, against, tmp_path):
    train = write(
        tmp_path / "train", t1="writing desk, oak", t2="steel ketle", t3="oak desk", t4="red lamp", v1="steel kettle"
    )
    out = tmp_path / "clean"
    code, printed, _ = run("decontaminate", train, "--against", against, "--out", out)
    assert code == 0
    assert "without 2 training queries and 1 pair that leak" in printed
    made = Dataset.load(out)
    assert list(made.queries) == ["t3", "t4", "v1"]
    # "oak desk" shares two of three words with a test query about the same thing.
    assert {row.product_id for row in made.judgments if row.query_id == "t3"} == {"p1", "p2"}
    report = json.loads((out / "leaks.json").read_text(encoding="utf-8"))
    assert [(one["train"], one["test"], one["why"]) for one in report["leaks"]] == [
        ("writing desk, oak", "oak writing desk", "other order"), ("steel ketle", "steel kettle", "slip"),
    ]  # fmt: skip
    assert report["test_queries_leaked"] == ["e1", "e2"]
    code, printed, _ = run("decontaminate", out, "--against", against, "--out", tmp_path / "again", "--json")
    assert (code, json.loads(printed)["queries_removed"], json.loads(printed)["pairs_removed"]) == (0, 0, 0)
    assert Dataset.load(tmp_path / "again").fingerprint == made.fingerprint


def test_paraphrases_need_a_model(run, against, tiny_encoder, tmp_path):
    train = write(tmp_path / "train", t1="couch", t2="lamp")
    test = write(tmp_path / "sofas", e1="sofa")
    code, printed, _ = run("decontaminate", train, "--against", test, "--out", tmp_path / "one")
    assert "meaning was not compared" in printed
    assert list(Dataset.load(tmp_path / "one").queries) == ["t1", "t2"]
    words = ("--vectors", tiny_encoder, "--json")
    code, printed, _ = run("decontaminate", train, "--against", test, "--out", tmp_path / "two", *words)
    assert (code, json.loads(printed)["kinds"]) == (0, {"meaning": 1})
    assert list(Dataset.load(tmp_path / "two").queries) == ["t2"]


def test_what_cannot_be_done_is_one_sentence(run, against, tmp_path):
    train = write(tmp_path / "train", t1="steel kettle")
    out = tmp_path / "out"
    for words, said in (
        ((train, "--against", against, "--out", out), "every query leaks"),
        ((train, "--against", train, "--out", out), "has no query of the split 'test'"),
        ((train, "--against", against, "--out", train), "already exists"),
        ((train, "--against", against, "--out", out, "--near", "2"), "--near 2: a share above 0"),
        ((train, "--against", against, "--out", out, "--splits", "all"), "--splits all: there is no split 'all'"),
        ((train, "--against", against, "--out", out, "--vectors", "/no/where"), "no such folder"),
        ((train, "--against", tmp_path / "no", "--out", out), "no such folder"),
    ):
        assert said in complaint(run("decontaminate", *words))
        assert not out.exists()
    assert "three shares" in complaint(run("split", train, "--out", out, "--split", "1"))


def test_alike_queries_stay_together_and_slices_keep_their_shares(run, sample_shop, tmp_path):
    queries = list(sample_shop.queries.values())[:600]
    twins = [row.model_copy(update={"query_id": f"{row.query_id}-2", "text": f"{row.text}!"}) for row in queries[:200]]
    kept = {row.query_id: row for row in [*queries, *twins]}
    Dataset(PRODUCTS, kept, ()).save(tmp_path / "shop")
    code, printed, _ = run("split", tmp_path / "shop", "--out", tmp_path / "out", "--split", "0.6,0.2,0.2", "--json")
    assert code == 0
    report = json.loads(printed)
    made = Dataset.load(tmp_path / "out").queries
    assert all(made[row.query_id].split == made[row.query_id.removesuffix("-2")].split for row in twins)
    assert report["together"] >= 400
    for tag, counts in report["queries"].items():
        total = sum(counts.values())
        assert counts["train"] / total == pytest.approx(0.6, abs=0.02 + 3 / total), tag
        assert counts["test"] / total == pytest.approx(0.2, abs=0.02 + 3 / total), tag
    again = run("split", tmp_path / "shop", "--out", tmp_path / "out2", "--split", "0.6,0.2,0.2", "--json")[1]
    assert json.loads(again)["queries"] == report["queries"]
    assert Dataset.load(tmp_path / "out2").queries == made
