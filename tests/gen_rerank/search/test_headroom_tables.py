"""The headroom as tables: every figure in its row and column, and names as they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from gen_rerank.search.headroom import RankedQuery, headroom
from gen_rerank.search.headroom_tables import headroom_table, unjudged_table

NAME = "n[red]a"


@pytest.fixture
def found():
    """Thrice a relevant product behind ten unjudged ones, which the model finds, and a query without candidates."""
    relevance = np.array([np.nan] * 10 + [0.0] * 6 + [1.0])
    ranked = [RankedQuery(f"q{i}", np.array([1.0]), relevance, np.arange(17.0)) for i in range(3)]
    empty = [RankedQuery(f"r{i}", np.array([1.0]), np.array([]), np.array([])) for i in range(3)]
    return headroom([*ranked, *empty])


def cells(table) -> dict[str, list[str]]:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table)
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if line.startswith("│")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_rows_of_the_headroom(found) -> None:
    rows = cells(headroom_table(found, NAME))
    assert rows["as retrieved"] == ["0.000 [0.000, 0.000]"] * 3
    assert rows[f"reranked by {NAME}"] == rows["oracle"] == ["0.000 [0.000, 0.000]", *["0.500 [0.167, 0.833]"] * 2]
    assert rows[f"{NAME} − as retrieved"][1:] == ["+0.5000 [+0.1667, +0.8333]"] * 2
    assert rows[f"oracle − {NAME}"] == ["0.0000 [0.0000, 0.0000]"] * 3
    assert rows["1 − oracle"] == ["+1.0000 [+1.0000, +1.0000]", *["+0.5000 [+0.1667, +0.8333]"] * 2]
    assert rows["as retrieved, judged only"][2].startswith("0.167")
    assert next(iter(rows)) == "random order"


def test_the_shares_of_unjudged_products(found) -> None:
    assert cells(unjudged_table(found, NAME)) == {
        "first 10, as retrieved": ["100%", "100%", "100%"],
        f"first 10, reranked by {NAME}": ["40%", "30%", "30%"],
        "first 10, oracle": ["100%", "90%", "90%"],
        "all candidates": ["62%", "59%", "59%"],
    }
