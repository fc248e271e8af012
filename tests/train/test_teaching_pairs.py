"""Which pairs a student learns: those of training queries alone, judged or found, or those of a file."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from train.progress import QUIET
from train.teaching_pairs import Candidates, TaughtRun, TeachingPairs

PRODUCTS = {str(i): Product(product_id=str(i), title=f"desk {i}") for i in range(30)}
QUERIES = {
    "a": Query(query_id="a", text="oak desk", split="train"),
    "b": Query(query_id="b", text="pine desk", split="train"),
    "v": Query(query_id="v", text="red desk", split="validation"),
    "t": Query(query_id="t", text="blue desk", split="test"),
}
JUDGED = tuple(Judgment(query_id=q, product_id=p, relevance=0.5) for q, p in ("v0", "a1", "t2", "b3", "a4"))
SHOP = Dataset(PRODUCTS, QUERIES, JUDGED)


def retrieve(query: str, limit: int) -> list[Product]:
    """All products, in their order, and one that only the index has."""
    return [*PRODUCTS.values(), Product(product_id="new", title="new desk")][:limit]


def test_judged_pairs_are_those_of_training_queries_each_query_s_together():
    pairs = TeachingPairs.judged(SHOP)
    assert pairs.rows == (("a", "1"), ("a", "4"), ("b", "3"))
    assert [pair.query for pair in pairs.texts()] == ["oak desk", "oak desk", "pine desk"]
    assert pairs.labels()[0] == [0, 1, 2]
    assert [row.relevance for row in pairs.graded([0.1, 0.2, 0.3]).judgments] == [0.1, 0.2, 0.3]


def test_candidates_are_the_first_unjudged_ones_and_as_many_from_behind():
    pairs = TeachingPairs.judged(SHOP).with_candidates(retrieve, 3, seed=0)
    found = {query: [p for q, p in pairs.rows if q == query] for query in "abvt"}
    assert found["a"][:5] == ["1", "4", "0", "2", "3"]
    assert found["b"][:4] == ["3", "0", "1", "2"]
    assert (found["v"], found["t"]) == ([], [])
    for query, judged in (("a", 2), ("b", 1)):
        deeper = found[query][judged + 3 :]
        assert len(deeper) == 3
        assert not set(deeper) & set(found[query][: judged + 3])
    assert len(set(pairs.rows)) == len(pairs.rows)
    assert pairs.labels()[0] == [0, 1, 8]


def test_what_is_drawn_depends_on_the_seed_and_the_query_alone():
    def drawn(shop: Dataset, seed: int) -> set[tuple[str, str]]:
        return set(TeachingPairs.judged(shop).with_candidates(retrieve, 3, seed).rows)

    turned = replace(SHOP, queries=dict(reversed(QUERIES.items())), judgments=JUDGED[::-1])
    assert drawn(SHOP, 0) == drawn(turned, 0)
    assert drawn(SHOP, 0) != drawn(SHOP, 1)


def test_a_product_of_the_index_alone_is_learned_from_too():
    pairs = TeachingPairs.judged(SHOP).with_candidates(lambda query, limit: retrieve(query, limit)[-2:], 2, seed=0)
    assert pairs.dataset.products["new"].title == "new desk"
    assert ("a", "new") in pairs.rows


def test_the_fingerprint_follows_texts_and_labels():
    pairs = TeachingPairs.judged(SHOP)
    relabelled = replace(SHOP, judgments=(*JUDGED[:1], JUDGED[1].model_copy(update={"relevance": 1.0}), *JUDGED[2:]))
    renamed = replace(SHOP, products={**PRODUCTS, "1": Product(product_id="1", title="another")})
    found = {one.fingerprint for one in (pairs, TeachingPairs.judged(relabelled), TeachingPairs.judged(renamed))}
    assert len(found) == 3
    assert TeachingPairs.judged(SHOP).fingerprint == pairs.fingerprint


def written(folder: Path, *rows: object, name: str = "pairs.jsonl") -> Path:
    file = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_bytes(gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
    return file


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_a_file_of_pairs_has_titles_or_products_and_grades_where_there_are_any(tmp_path, name):
    file = written(
        tmp_path,
        {"query": "oak desk", "product": "Oak desk"},
        {"query": "lamp", "product": {"product_id": "7", "title": "Lamp", "brand": "Acme"}, "relevance": 0.8},
        {"query": "oak desk", "product": {"title": "Pine desk"}},
        name=name,
    )
    pairs = TeachingPairs.read(file)
    assert [(pair.query, pair.product.title) for pair in pairs.texts()] == [
        ("oak desk", "Oak desk"), ("oak desk", "Pine desk"), ("lamp", "Lamp"),
    ]  # fmt: skip
    places, judged = pairs.labels()
    assert (places, [row.relevance for row in judged]) == ([2], [0.8])
    assert {query.split for query in pairs.dataset.queries.values()} == {"train"}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"query": "desk", "product": " "}, r":2: column 'product': it has no text"),
        ({"query": "", "product": "Desk"}, r":2: column 'query' has no text"),
        ({"query": "desk"}, r":2: column 'product' is missing"),
        ({"query": "desk", "product": "Desk", "relevance": 2}, r":2: column 'relevance'"),
        ({"query": "desk", "product": {"title": "Desk", "color": "red"}}, "unknown field 'color'"),
        ({"query": "lamp", "product": "Lamp"}, "already given in line 1"),
        ({"query": "x", "product": {"product_id": "1", "title": "x"}, "split": "test"}, "unknown column 'split'"),
    ],
)
def test_a_bad_row_of_a_file_is_named(tmp_path, row, sentence):
    file = written(tmp_path, {"query": "lamp", "product": "Lamp"}, row)
    with pytest.raises(BadInput, match=sentence):
        TeachingPairs.read(file)
    assert len(TeachingPairs.read(file, skip_bad_rows=True).rows) == 1


def test_two_products_with_one_id_are_refused(tmp_path):
    rows = [{"query": "lamp", "product": {"product_id": "1", "title": title}} for title in ("Lamp", "Desk")]
    with pytest.raises(BadInput, match="already given in line 1"):
        TeachingPairs.read(written(tmp_path, *rows))
    rows[1]["query"] = "desk"
    with pytest.raises(BadInput, match=":2: the product 1 was given before with other texts"):
        TeachingPairs.read(written(tmp_path, *rows))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no-such", "no such folder or file"),
        ("pairs.csv", "pairs are read from a data folder"),
        ("empty.jsonl", "no us"),
    ],
)
def test_what_holds_no_pairs_is_one_sentence(tmp_path, name, sentence):
    if name != "no-such":
        (tmp_path / name).write_text("")
    with pytest.raises(BadInput, match=sentence):
        TaughtRun.opened(tmp_path / name, tmp_path / "out", QUIET, None)


def test_a_folder_where_nothing_is_judged_needs_an_index(tmp_path):
    (tmp_path / "shop").mkdir()
    replace(SHOP, judgments=()).save(tmp_path / "shop")
    with pytest.raises(BadInput, match=r"no pairs to learn from.*--index INDEX --candidates N"):
        TaughtRun.opened(tmp_path / "shop", tmp_path / "out", QUIET, None)


def test_an_index_finds_pairs_for_queries_without_judgments(tmp_path):
    pytest.importorskip("tantivy")
    from gen_rerank.search.building import build_index
    from gen_rerank.search.settings import IndexSettings

    shop, index = tmp_path / "shop", tmp_path / "index"
    shop.mkdir()
    replace(SHOP, judgments=()).save(shop)
    build_index(shop, index, IndexSettings())
    run = TaughtRun.opened(shop, tmp_path / "out", QUIET, Candidates(str(index), 2))
    assert {query for query, _ in run.pairs.rows} == {"a", "b"}
    assert len(run.pairs.rows) == 8
    said = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**said, "format": 1}))
    with pytest.raises(BadInput, match="index of another version"):
        TaughtRun.opened(shop, tmp_path / "out", QUIET, Candidates(str(index), 2))
    with pytest.raises(BadInput, match="no such folder; make one: gen-rerank index"):
        TaughtRun.opened(shop, tmp_path / "out", QUIET, Candidates(str(tmp_path / "none"), 2))


def test_an_index_without_its_package_is_one_sentence(tmp_path, monkeypatch, tiny_data):
    monkeypatch.delitem(sys.modules, "gen_rerank.search.index", raising=False)
    monkeypatch.setitem(sys.modules, "tantivy", None)
    with pytest.raises(BadInput, match=r"--index needs the package tantivy.*gen-rerank\[search\]"):
        TaughtRun.opened(tiny_data, tmp_path / "out", QUIET, Candidates(str(tmp_path), 2))
