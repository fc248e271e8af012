"""What tiers do for queries, by hand."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.checkpoints.card import Calibration, PromiseRecord
from gen_rerank.evaluation.tier_figures import ModelTiers, model_tiers_table, tier_figures

# Two queries: 0.9 and 0.6 of things that are worth 1.0 and 0.2; 0.3 of one that is worth 0.5.
SCORES, RELEVANCE, QUERIES = [0.9, 0.6, 0.3], [1.0, 0.2, 0.5], np.array([0, 0, 1])
THRESHOLDS = {"exact": 0.8, "close": 0.5}


def test_wrong_missed_and_silent() -> None:
    found = tier_figures(SCORES, RELEVANCE, QUERIES, THRESHOLDS)
    assert found["exact"].wrong.tolist() == [0.0, 0.0]
    assert found["exact"].shown.tolist() == [1.0, 0.0]
    assert found["exact"].silent.tolist() == [0.0, 1.0]
    assert found["close"].wrong.tolist() == [0.5, 0.0]
    assert found["close"].missed.tolist() == [0.0, 1.0]
    assert np.isnan(found["exact"].missed[1])
    assert found["exact"].to_json()["missed"] == [0.0, 0.0, 0.0]


def judged() -> Dataset:
    rows = zip(["q", "q", "r"], ["a", "b", "c"], RELEVANCE, strict=True)
    return Dataset(
        {key: Product(product_id=key, title=key) for key in "abc"},
        {key: Query(query_id=key, text=key, split="test") for key in "qr"},
        tuple(Judgment(query_id=query, product_id=product, relevance=label) for query, product, label in rows),
    )


def test_a_checkpoints_tiers_on_a_split() -> None:
    promise = PromiseRecord(promise="exact: wrong <= 5%", kept=False, confidence=0.9, queries=2)
    found = ModelTiers.of(judged(), SCORES, Calibration(thresholds=THRESHOLDS, promises={"exact": promise}))
    assert found is not None
    row = found.to_json()
    assert (row["exact"]["threshold"], row["exact"]["promise"]["kept"], row["close"]["promise"]) == (0.8, False, None)
    assert row["close"]["wrong"][0] == 0.25
    assert (row["exact"]["shows_nothing"][0], row["close"]["shows_nothing"][0]) == (0.5, 0.5)
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(model_tiers_table({"tiny": found}))
    shown = console.export_text()
    assert "exact: wrong <= 5% (not promised)" in shown
    assert "25.0%" in shown


def test_a_promise_that_these_queries_break_is_said() -> None:
    """Of what is shown as close, half is wrong for the first query and all for the second: from 50% to 100%."""
    scores, data = [0.9, 0.6, 0.6], judged()
    judgments = zip(data.judgments, [1.0, 0.2, 0.2], strict=True)
    rows = tuple(row.model_copy(update={"relevance": value}) for row, value in judgments)
    shop = Dataset(data.products, data.queries, rows)

    def found(promise: str, *, kept: bool = True) -> ModelTiers:
        record = PromiseRecord(promise=promise, kept=kept, confidence=0.9, queries=2)
        made = ModelTiers.of(shop, scores, Calibration(thresholds=THRESHOLDS, promises={"close": record}))
        assert made is not None
        return made

    assert found("close: wrong <= 5%").broken("close")
    assert found("close: wrong <= 5%").promised("close") == "close: wrong <= 5%, broken here"
    assert found("close: wrong <= 5%").to_json()["close"]["broken"]
    assert not found("close: wrong <= 60%").broken("close"), "the interval reaches down to 50%"
    assert not found("close: wrong <= 5%", kept=False).broken("close"), "nothing was promised"
    assert not found("close: wrong <= 5%").broken("exact")


def test_a_checkpoint_without_thresholds_has_none() -> None:
    assert ModelTiers.of(judged(), SCORES, Calibration()) is None
