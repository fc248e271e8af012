"""Shops in a few lines, and their indexes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gen_rerank import Product
from gen_rerank.data.reading import write_rows
from gen_rerank.search.building import build_index
from gen_rerank.search.settings import IndexSettings


def products(**titles: str) -> list[Product]:
    return [Product(product_id=name, title=title) for name, title in titles.items()]


def write_shop(file: Path, rows: list[Product]) -> Path:
    write_rows(file, rows)
    return file


@pytest.fixture
def make_index(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that indexes products by their titles, `a="Oak desk"`, and gives the index's folder."""

    def make(settings: IndexSettings | None = None, *, synonyms: str | None = None, **titles: str) -> Path:
        words = None
        if synonyms is not None:
            words = tmp_path / "words.txt"
            words.write_text(synonyms, encoding="utf-8")
        shop = write_shop(tmp_path / "shop.jsonl", products(**titles))
        build_index(shop, tmp_path / "index", settings or IndexSettings(), synonyms=words)
        return tmp_path / "index"

    return make
