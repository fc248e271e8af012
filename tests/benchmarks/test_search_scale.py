"""The growth of an index: made-up products that are always the same, a row a size, a drawing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from search_scale import HEADER, MadeUpCatalog, ScaleFigures, draw, measure, numbers, write_catalog


def test_a_catalog_depends_on_its_seed_alone_and_has_usual_and_rare_words() -> None:
    one, other = ([product.title for product in MadeUpCatalog(seed).products(1500)] for seed in (0, 1))
    assert one == [product.title for product in MadeUpCatalog(0).products(1500)] != other
    words = [word for title in one for word in title.split()]
    assert max(map(words.count, set(words[:50]))) > 100
    assert sum(words.count(word) == 1 for word in set(words)) > 300
    assert len(MadeUpCatalog(0).queries(7)) == 7


def test_a_size_is_measured_and_drawn(tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    write_catalog(file, 500, 0)
    figures = measure(file, tmp_path / "index", MadeUpCatalog(1).queries(20))
    assert (figures.products, len(figures.latencies)) == (500, 20)
    assert 0 < figures.found <= 256
    assert 10_000 < figures.disk < figures.memory
    assert len(figures.row()) == len(HEADER)
    draw([figures, ScaleFigures(1000, 2.0, 10**6, 10**8, (0.001, 0.002), 256.0)], tmp_path / "new" / "growth.svg")
    assert (tmp_path / "new" / "growth.svg").read_text().startswith("<?xml")


def test_sizes_are_numbers() -> None:
    assert numbers("300, 10,300") == [10, 300]
    for given in ("", "0", "ten", "1,,2", "1e5"):
        with pytest.raises(BadInput, match="sizes are numbers above 0"):
            numbers(given)
