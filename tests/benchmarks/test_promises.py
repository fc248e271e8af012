"""The benchmark of promises on made-up logits: halves do not overlap, draws repeat, and what is counted is counted."""

from __future__ import annotations

import numpy as np
import pytest

import promises
from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.errors import BadInput
from gen_rerank.fitting.judged_pairs import JudgedPairs

MADE, BROKEN, NOT_MADE = (
    promises.TierOutcome(kept, loss, 0.05, 0.5, 0.25) for kept, loss in ((True, 0.04), (True, 0.06), (False, 0.5))
)


def pairs(queries: int, products: int = 6, seed: int = 0) -> JudgedPairs:
    rng = np.random.default_rng(seed)
    centres = rng.random((queries * products, 1))
    logits = -((BIN_VALUES - centres) ** 2) / (2 * 0.1**2)
    relevance = np.round(np.clip(centres[:, 0] + rng.normal(0, 0.1, len(centres)), 0, 1), 1)
    number = np.repeat(np.arange(queries), products)
    labels = tuple((value,) for value in relevance.tolist())
    return JudgedPairs(logits, tuple(BIN_VALUES.tolist()), relevance, labels, number, number % 5)


def test_what_was_broken_is_counted_of_all_draws() -> None:
    found = promises.summary([MADE, BROKEN, NOT_MADE, NOT_MADE])
    assert (found["promised"], found["broken"]) == (2, 1)
    assert (found["broken_share"], found["broken_of_promised"]) == (0.25, 0.5)
    assert found["mean_loss"] == pytest.approx(0.05)
    assert promises.summary([NOT_MADE])["broken_of_promised"] is None


def test_a_query_that_is_drawn_twice_is_two_queries() -> None:
    found = promises.of_queries(pairs(4), np.array([2, 0, 2]))
    assert found.count == 3
    assert found.queries.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert np.array_equal(found.logits[:6], found.logits[12:])


def test_a_row_for_each_way_reading_and_promise() -> None:
    shop = promises.ReadShop(
        "shop", {"": pairs(40), "int8": pairs(40, seed=0)}, {"carried to b": pairs(20, seed=1)}, Calibration()
    )
    advanced: list[int] = []
    rows = list(promises.results_of(shop, ["exact: wrong <= 20%"], 3, 0, lambda: advanced.append(1)))
    assert len(advanced) == 6
    assert len(rows) == 2 * 3 * 2
    assert {row["read_by"] for row in rows} == {"", "int8", "carried to b"}
    first, copy = (next(row for row in rows if row["read_by"] == name) for name in ("", "int8"))
    assert {**first, "read_by": ""} == {**copy, "read_by": ""}, "the same logits"
    assert len(promises.table(rows, promises.HALVES).rows) == 6


@pytest.mark.parametrize("given", ["shop", "shop=model", "=model,data"])
def test_a_shop_that_is_none_is_refused(given: str, tmp_path) -> None:
    with pytest.raises(BadInput, match="NAME=MODEL,DATA"):
        promises.opened(given, [], [], ["validation"], tmp_path)
