"""Shops in a few lines, their indexes, and a sentence-transformers model whose vectors one can write down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gen_rerank import Product
from gen_rerank.data.reading import write_rows
from gen_rerank.search.building import build_index
from gen_rerank.search.settings import IndexSettings

# Each word has one place; what means the same has nearly the same one.
PLACES = {
    "sofa": (1.0, 0.0, 0.0), "couch": (0.9, 0.1, 0.0), "desk": (0.0, 1.0, 0.0), "table": (0.1, 0.9, 0.0),
    "lamp": (0.0, 0.0, 1.0), "[UNK]": (0.1, 0.1, 0.1),
}  # fmt: skip


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


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model's folder: the vector of a text is the mean of its words' `PLACES`."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(PLACES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.array(list(PLACES.values()), dtype=np.float32)
    folder = tmp_path_factory.mktemp("encoder")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return str(folder)
