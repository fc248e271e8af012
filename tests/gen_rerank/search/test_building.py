"""An index is made and changed: what is counted, what is refused, and what is left where it goes wrong."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gen_rerank import BadInput, Product
from gen_rerank.search import building
from gen_rerank.search.building import IndexChange, build_index, change_index, read_ids
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.settings import IndexSettings

from .conftest import products, write_shop

PLAIN = IndexSettings()


def ids(folder: Path, query: str) -> list[str]:
    return sorted(one.product.product_id for one in ProductIndex.open(folder).candidates(query))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_form_of_products_is_indexed(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    rows = [{"product_id": "a", "title": "Oak desk"}, {"product_id": "b", "title": "Lamp"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "products.jsonl").write_text(lines)  # a data folder without queries and judgments
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pd.DataFrame(rows).to_parquet(tmp_path / "p.parquet", index=False)
    for i, source in enumerate(("shop", "p.jsonl.gz", "p.parquet")):
        done = build_index(tmp_path / source, tmp_path / f"index{i}", PLAIN)
        assert done == IndexChange(2, 2, 0, 0, (), 2, ())
        assert ids(tmp_path / f"index{i}", "desk") == ["a"]


def test_of_a_repeated_id_the_last_row_counts(tmp_path: Path) -> None:
    rows = [*products(a="Oak desk", b="Lamp"), *products(a="Elm desk")]
    done = build_index(write_shop(tmp_path / "p.jsonl", rows), tmp_path / "index", PLAIN)
    assert done == IndexChange(3, 2, 1, 0, (), 2, ())
    assert (ids(tmp_path / "index", "oak"), ids(tmp_path / "index", "elm")) == ([], ["a"])


def test_products_are_never_all_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the rows waits until the ones before them are written."""
    monkeypatch.setattr(building, "_AT_ONCE", 10)
    read, most = 0, 0
    original = building.document_of

    def rows(*_: object) -> Iterator[Product]:
        nonlocal read
        for product in products(**{f"p{i}": "Oak desk" for i in range(95)}):
            read += 1
            yield product

    def counted(product: Product, row: int | None = None) -> object:
        nonlocal read, most
        most = max(most, read)
        read -= 1
        return original(product, row)

    monkeypatch.setattr(building, "_rows", rows)
    monkeypatch.setattr(building, "document_of", counted)
    assert build_index(write_shop(tmp_path / "p.jsonl", []), tmp_path / "index", PLAIN).products == 95
    assert most == 10


def test_bad_rows_are_named_or_left_out(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"product_id": "a", "title": "Desk"}\n{"product_id": "b"}\n{}\n')
    with pytest.raises(
        BadInput, match=r"p\.jsonl:2: column 'title' is missing \(and 1 more\); correct the row, or pass"
    ):
        build_index(file, tmp_path / "index", PLAIN)
    assert not (tmp_path / "index").exists()
    done = build_index(file, tmp_path / "index", PLAIN, skip_bad_rows=True)
    assert (done.products, len(done.bad_rows)) == (1, 2)
    before = files(tmp_path / "index")
    with pytest.raises(BadInput, match=r"p\.jsonl:2: column 'title' is missing"):
        change_index(tmp_path / "index", add=file, delete=["a"])
    assert ids(tmp_path / "index", "desk") == ["a"]
    assert set(files(tmp_path / "index")) == set(before)  # what was written of it is gone
    done = change_index(tmp_path / "index", add=file, skip_bad_rows=True)  # in the same process: the lock is free
    assert (done.given, done.replaced, len(done.bad_rows)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "nowhere: no such file; products are"),
        ("empty", r"empty: neither products\.jsonl nor products\.parquet is there"),
        ("none.jsonl", r"none\.jsonl: no usable rows"),
        ("table.csv", r"table\.csv: products are read from \.jsonl, \.jsonl\.gz, \.parquet; gen-rerank import makes"),
    ],
)
def test_what_has_no_products_makes_no_index(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").write_text("\n")
    (tmp_path / "table.csv").write_text("id,title\n")
    with pytest.raises(BadInput, match=words):
        build_index(tmp_path / source, tmp_path / "index", PLAIN)
    assert not (tmp_path / "index").exists()
    assert not list(tmp_path.glob(".index*"))


def test_only_an_index_is_replaced(make_index: Callable[..., Path], tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "p.jsonl", products(a="Oak desk"))
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.json").write_text("{}")
    with pytest.raises(BadInput, match="site: already exists; choose another place or remove it"):
        build_index(shop, site, PLAIN)
    index = make_index(b="Oak lamp")
    (index / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"index: holds notes\.txt, which is no part of an index; move it away or"):
        build_index(shop, index, PLAIN)
    (index / "notes.txt").unlink()
    build_index(shop, index, PLAIN)
    assert ids(index, "oak") == ["a"]
    assert sorted(path.name for path in index.iterdir()) == ["index.json", "words"]


def test_a_new_index_that_goes_wrong_leaves_the_old_one(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(a="Oak desk")
    before = files(index)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    (tmp_path / "bad.txt").write_text("one\n")
    for broken in (
        lambda: build_index(tmp_path / "bad.jsonl", index, PLAIN),
        lambda: build_index(tmp_path / "shop.jsonl", index, IndexSettings("klingon")),
        lambda: build_index(tmp_path / "shop.jsonl", index, PLAIN, synonyms=tmp_path / "bad.txt"),
        lambda: build_index(tmp_path / "shop.jsonl", index, IndexSettings(vectors="/no/such/model")),
        lambda: change_index(index, add=tmp_path / "bad.jsonl", delete=["a"]),
        lambda: change_index(index, delete=["a"], synonyms=tmp_path / "bad.txt"),
        lambda: change_index(index, delete=["a"], add=tmp_path / "nowhere.jsonl"),
    ):
        with pytest.raises(BadInput):
            broken()
        assert files(index) == before or ids(index, "oak") == ["a"]
    assert ids(index, "oak") == ["a"]
    assert not list(tmp_path.glob(".index*"))


def test_a_change_counts_what_became_of_it(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(a="Oak desk", b="Oak lamp", c="Oak sofa")
    new = write_shop(tmp_path / "new.jsonl", products(b="Elm lamp", d="Elm bed", a="Elm desk"))
    done = change_index(index, add=new, delete=["a", "c", "x", "c"])
    assert done == IndexChange(given=3, added=2, replaced=1, deleted=2, unknown=("x",), products=3, bad_rows=())
    assert (ids(index, "oak"), ids(index, "elm")) == ([], ["a", "b", "d"])
    assert change_index(index, delete=["x"]) == IndexChange(0, 0, 0, 0, ("x",), 3, ())


def test_an_index_may_become_empty_and_be_filled_again(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(a="Oak desk")
    assert change_index(index, delete=["a"]).products == 0
    assert ids(index, "oak") == []
    assert change_index(index, add=tmp_path / "shop.jsonl").products == 1
    assert ids(index, "oak") == ["a"]


def test_synonyms_are_kept_by_a_change_and_by_a_new_index(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(synonyms="sofa, couch", a="Grey couch")
    change_index(index, add=write_shop(tmp_path / "new.jsonl", products(b="Red couch")))
    assert ids(index, "sofa") == ["a", "b"]
    build_index(tmp_path / "new.jsonl", index, PLAIN, synonyms=index / "synonyms.txt")
    assert ids(index, "sofa") == ["b"]
    build_index(tmp_path / "new.jsonl", index, PLAIN)
    assert ids(index, "sofa") == ["b"]
    (tmp_path / "none.txt").write_text("")
    build_index(tmp_path / "new.jsonl", index, PLAIN, synonyms=tmp_path / "none.txt")
    assert ids(index, "sofa") == []


def test_synonyms_that_another_language_leaves_no_word_of_are_refused(
    make_index: Callable[..., Path], tmp_path: Path
) -> None:
    index = make_index(synonyms="die, cube", a="Grey cube")
    with pytest.raises(BadInput, match=r"synonyms\.txt:1: .*; these are the older index's, pass --synonyms FILE to"):
        build_index(tmp_path / "shop.jsonl", index, IndexSettings("german"))
    assert ids(index, "die") == ["a"]


def test_one_run_writes_at_a_time(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(a="Oak desk")
    slow, go = tmp_path / "slow.jsonl", threading.Event()
    refused: list[str] = []

    def rows(*_: object) -> Iterator[Product]:
        for again in (
            lambda: change_index(index, delete=["a"]),
            lambda: build_index(tmp_path / "shop.jsonl", index, PLAIN),
        ):
            with pytest.raises(BadInput) as error:
                again()
            refused.append(str(error.value))
        go.set()
        yield from products(b="Oak lamp")

    with pytest.MonkeyPatch.context() as patch:
        write_shop(slow, [])
        patch.setattr(building, "_rows", rows)
        change_index(index, add=slow)
    assert go.is_set()
    assert all(
        said.endswith("another run is writing it; wait for its end or choose another folder") for said in refused
    )
    assert ids(index, "oak") == ["a", "b"]


def test_a_link_to_an_index_is_followed(make_index: Callable[..., Path], tmp_path: Path) -> None:
    index = make_index(a="Oak desk", b="Oak lamp")
    (tmp_path / "live").symlink_to(index)
    assert change_index(tmp_path / "live", delete=["a"]).products == 1
    assert ids(tmp_path / "live", "oak") == ids(index, "oak") == ["b"]
    assert (tmp_path / "live").is_symlink()


def test_hostile_products_are_found_by_what_they_say(tmp_path: Path) -> None:
    rows = [
        {"product_id": 'a,b "c" d', "title": "Oak\0desk \U0001f600"},
        {"product_id": "\U0001f600", "title": "\U0001f600"},
        {"product_id": "-x:y*", "title": "<b>AND</b> \\ (oak) ~2"},
        {"product_id": "long", "title": "oak " + "x" * 200_000},
    ]
    file = tmp_path / "p.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = tmp_path / "index"
    build_index(file, index, PLAIN)
    assert ids(index, "oak") == ["-x:y*", 'a,b "c" d', "long"]
    gone = tmp_path / "gone.txt"
    gone.write_text('a,b "c" d\n\n \n\U0001f600\r\n-x:y*\u200b\n')
    assert change_index(index, delete=read_ids(gone)).deleted == 3
    assert ids(index, "oak") == ["long"]


def test_ids_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gone.txt"
    file.write_text("\ufeffp1\n p2 \n")
    assert read_ids(file) == ["p1", "p2"]
    for content, words in ((b"\n \n", "has no ids; write one a line"), (b"\xff", "is not text in UTF-8")):
        file.write_bytes(content)
        with pytest.raises(BadInput, match=words):
            read_ids(file)
    with pytest.raises(BadInput, match=r"cannot be read \(Is a directory\); name a file with one id a line"):
        read_ids(tmp_path)
