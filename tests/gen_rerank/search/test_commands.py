"""`gen-rerank index` and `gen-rerank search` as people type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gen_rerank.search.index import ProductIndex
from tests.conftest import complaint

from .conftest import products, write_shop

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop.jsonl", products(p1="Oak desk", p2="Oak lamp", p3="Sofa"))


@pytest.fixture
def index(run: Run, shop: Path, tmp_path: Path) -> Path:
    assert run("index", shop, "--out", tmp_path / "index") == (0, f"{tmp_path}/index: 3 products\n", "")
    return tmp_path / "index"


def test_a_search_is_a_table_or_json(run: Run, index: Path, tmp_path: Path) -> None:
    code, out, err = run("search", index, "oak")
    assert (code, err) == (0, "")
    assert "oak: 2 of 2 candidates" in out
    assert "retrieve " in out
    code, out, err = run("search", index, "oak desk", "--json", "--top", 1, "--out", tmp_path / "new" / "answer.json")
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert said == json.loads((tmp_path / "new" / "answer.json").read_text())
    assert said["query"] == "oak desk"
    assert [(row["product_id"], row["title"], row["score"]) for row in said["results"]] == [("p1", "Oak desk", None)]
    assert said["receipts"] == []
    assert set(said["seconds"]) == {"retrieve", "rerank", "check"}


def test_a_model_ranks(run: Run, index: Path, tiny_checkpoint: Path) -> None:
    code, out, _ = run("search", index, "oak", "--model", tiny_checkpoint, "--json", "--top", 1000, "--candidates", 256)
    rows = json.loads(out)["results"]
    assert code == 0
    assert sorted(row["product_id"] for row in rows) == ["p1", "p2"]
    assert rows[0]["score"] >= rows[1]["score"]
    code, out, _ = run("search", index, "oak", "--model", tiny_checkpoint, "--candidates", 1)
    assert code == 0
    assert "Spread" in out


def test_nothing_found_is_said(run: Run, index: Path) -> None:
    assert run("search", index, "xyzzy") == (0, "no product has a word of this query\n", "")
    code, out, err = run("search", index, "AND (", "--json")
    assert (code, json.loads(out)["results"], err) == (0, [], "")


def test_an_index_is_changed(run: Run, index: Path, tmp_path: Path) -> None:
    new = write_shop(tmp_path / "new.jsonl", products(p1="Elm desk", p4="Elm bed"))
    gone = tmp_path / "gone.txt"
    gone.write_text("p3\n")
    assert run("index", "--out", index, "--add", new, "--delete", "p2, p9", "--delete-file", gone) == (
        0,
        f"{index}: 2 products; 1 added, 2 deleted, 1 replaced by a row of the same id\nnot in the index: p9\n",
        "",
    )
    synonyms = tmp_path / "words.txt"
    synonyms.write_text("cot => bed\n")
    said = f"{index}: 2 products; 0 added, 0 deleted; synonyms of 1 words or phrases\n"
    assert run("index", "--out", index, "--synonyms", synonyms) == (0, said, "")
    assert [one.product.product_id for one in ProductIndex.open(index).candidates("cot")] == ["p4"]
    assert run("index", new, "--out", index)[1] == f"{index}: 2 products; synonyms of 1 words or phrases\n"
    synonyms.write_text("")
    assert run("index", "--out", index, "--synonyms", synonyms)[1].endswith("0 deleted; no synonyms\n")


def test_a_product_that_is_deleted_and_added_is_not_said_to_be_missing(run: Run, index: Path, tmp_path: Path) -> None:
    new = write_shop(tmp_path / "new.jsonl", products(n1="Elm bed"))
    assert run("index", "--out", index, "--add", new, "--delete", "n1") == (
        0,
        f"{index}: 4 products; 1 added, 0 deleted\n",
        "",
    )


def test_a_language_is_named_in_any_case(run: Run, shop: Path, tmp_path: Path) -> None:
    assert run("index", shop, "--out", tmp_path / "i", "--language", "German")[0] == 0
    assert ProductIndex.open(tmp_path / "i").settings.language == "german"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["index", "SHOP", "--out", "INDEX", "--delete", "p1"],
            "DATA makes a new index, --add and --delete change one",
        ),
        (["index", "--out", "INDEX"], "nothing to do; give DATA for a new index, or --add, --delete or --synonyms"),
        (["index", "--out", "INDEX", "--delete", " , "], "nothing to do"),
        (["index", "--out", "INDEX", "--delete", "p1", "--language", "german"], "are those of a new index; give DATA"),
        (["index", "--out", "INDEX", "--add", "SHOP", "--vectors", "some/model"], "are those of a new index"),
        (["index", "--out", "INDEX", "--delete-file", "TMP/none"], "cannot be read (No such file or directory)"),
        (["index", "--out", "TMP/none", "--delete", "p1"], "none: no such folder; make one: gen-rerank index DATA"),
        (["index", "SHOP", "--out", ""], "--out is empty; give it a value"),
        (["index", "SHOP", "--out", "TMP"], "already exists; choose another place or remove it"),
        (["index", "SHOP", "--out", "SHOP"], "already exists"),
        (["index", "SHOP", "--out", "TMP/i", "--language", "klingon"], "there is no language 'klingon'; choose one of"),
        (["index", "SHOP", "--out", "TMP/i", "--vectors", "no-model"], "no-model: no such folder; vectors need"),
        (["index", "SHOP", "--out", "TMP/i", "--synonyms", "WORDS"], "words.txt:1: 'sofa' means nothing else; write"),
        (["index", "SHOP", "--out", "TMP/i", "--synonyms", "TMP/none"], "none: cannot be read (No such file or"),
        (["search", "", "oak"], "INDEX is empty; give it a value"),
        (["search", "SHOP", "oak"], "is a file; name the folder that gen-rerank index wrote"),
        (["search", "TMP/none", "oak"], "no such folder; make one: gen-rerank index DATA --out INDEX"),
        (["search", "INDEX", "\u200b"], "the query has no text"),
        (["search", "INDEX", "oak", "--model", "TMP/none"], "no such folder"),
        (["search", "INDEX", "oak", "--out", "INDEX/index.json"], "is a place in the index that is searched"),
        (["search", "INDEX", "oak", "--out", "TMP"], "is a folder; name a file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    run: Run, index: Path, shop: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "words.txt").write_text("sofa\n")
    places = {"SHOP": str(shop), "INDEX": str(index), "WORDS": f"{tmp_path}/words.txt", "TMP": str(tmp_path)}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert said in complaint(run(*words))
    assert len(ProductIndex.open(index)) == 3
    assert not (tmp_path / "i").exists()
