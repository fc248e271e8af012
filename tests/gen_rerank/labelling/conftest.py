"""A judge's server, and the tiny shop without judgments, with a few queries in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gen_rerank import Dataset
from tests.gen_rerank.labelling.served import JudgeServer, judge_server


@pytest.fixture
def served() -> Iterator[JudgeServer]:
    with judge_server() as state:
        yield state


@pytest.fixture
def bare_shop(tiny_shop: Dataset, tmp_path: Path) -> Path:
    """Products alone."""
    Dataset(tiny_shop.products, {}, ()).save(tmp_path / "bare")
    return tmp_path / "bare"


@pytest.fixture
def few_queries(tmp_path: Path) -> Path:
    (tmp_path / "queries.txt").write_text("red desk\nblue lamp\n\nsteel kettle\nRed  Desk\n", encoding="utf-8")
    return tmp_path / "queries.txt"
