"""What a new index may replace: an index, whole or damaged, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.search.building import build_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.replacing import refuse_no_index
from gen_rerank.search.settings import IndexSettings

Make = Callable[..., Path]


def novel_in_words(index: Path) -> None:
    (index / "words" / "novel.txt").write_text("Call me Ishmael.")


def words_as_a_file(index: Path) -> None:
    shutil.rmtree(index / "words")
    (index / "words").write_text("mine")


def folder_in_words(index: Path) -> None:
    (index / "words" / ("0" * 32 + ".idx")).mkdir()


def link_for_words(index: Path) -> None:
    (index / "words").rename(index.parent / "elsewhere")
    (index / "words").symlink_to(index.parent / "elsewhere")


def photo_in_vectors(index: Path) -> None:
    (index / "vectors").mkdir()
    (index / "vectors" / "me.npy").write_text("mine")


def folder_as_synonyms(index: Path) -> None:
    (index / "synonyms.txt").mkdir()


def finders_file(index: Path) -> None:
    (index / ".DS_Store").write_text("")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (novel_in_words, "words/novel.txt"),
        (words_as_a_file, "words"),
        (folder_in_words, "words/" + "0" * 32 + ".idx"),
        (link_for_words, "words"),
        (photo_in_vectors, "vectors/me.npy"),
        (folder_as_synonyms, "synonyms.txt"),
        (finders_file, ".DS_Store"),
    ],
)
def test_what_no_index_wrote_is_named_and_stays(
    make_index: Make, tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    index = make_index(a="Oak desk")
    change(index)
    with pytest.raises(BadInput, match=f"index: holds {named}, which is no part of an index; move it away or choose"):
        build_index(tmp_path / "shop.jsonl", index, IndexSettings())
    assert (index / named).exists()


@pytest.mark.parametrize("said", ['{"my": "site index"}', "{}", "[]", '{"fo', '{"format": 1}'])
def test_a_folder_that_only_has_the_names_of_an_index_stays(tmp_path: Path, said: str) -> None:
    site = tmp_path / "site"
    (site / "words").mkdir(parents=True)
    (site / "index.json").write_text(said)
    (site / "words" / "meta.json").write_text(json.dumps({"schema": [{"name": "text"}]}))
    with pytest.raises(BadInput, match="site: already exists; choose another place or remove it"):
        refuse_no_index(site)


def without_words(index: Path) -> None:
    shutil.rmtree(index / "words")


def without_settings(index: Path) -> None:
    (index / "index.json").unlink()


def cut_settings(index: Path) -> None:
    (index / "index.json").write_text('{"format"')


def cut_list(index: Path) -> None:
    (index / "words" / "meta.json").write_text("")


def older(index: Path) -> None:
    (index / "index.json").write_text('{"format": 0, "tantivy": "5"}')


@pytest.mark.parametrize("damage", [without_words, without_settings, cut_settings, cut_list, older])
def test_a_damaged_index_is_made_again_as_its_sentence_says(
    make_index: Make, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    index = make_index(synonyms="sofa, couch", a="Grey couch")
    damage(index)
    with pytest.raises(BadInput):
        ProductIndex.open(index)
    build_index(tmp_path / "shop.jsonl", index, IndexSettings())
    assert [one.product.product_id for one in ProductIndex.open(index).candidates("sofa")] == ["a"]
