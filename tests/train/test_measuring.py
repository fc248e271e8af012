"""What is measured on the way: whole queries, a tenth of the training's tokens at most, and all of them at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.checkpoints.checkpoint import Checkpoint
from train.epoch import Epoch
from train.inputs import reading_cost, rows_dataset, rows_of
from train.measuring import ReadingCost, affordable_sample, measurements
from train.targets import gaussian
from train.training_run import TrainingRun


def judged(products: list[int]) -> Dataset:
    """A validation split whose queries have so many judged products."""
    queries = {f"q{i}": Query(query_id=f"q{i}", text="desk", split="validation") for i in range(len(products))}
    shop = {f"p{i}": Product(product_id=f"p{i}", title="Desk") for i in range(max(products))}
    rows = [
        Judgment(query_id=query, product_id=f"p{i}", relevance=0.5)
        for query, count in zip(queries, products, strict=True)
        for i in range(count)
    ]
    return Dataset(shop, queries, tuple(rows))


def epoch(tokens: int = 1000, epochs: float = 2.0, steps: int = 100) -> Epoch:
    unread: Any = None
    return Epoch(10, 10, tokens, 0.0, 10, epochs, steps, unread, unread, autocast=False)


@pytest.fixture
def arguments(tmp_path: Path) -> Any:
    def made(**given: Any) -> TrainingArguments:
        return TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **given)

    return made


def test_how_often_is_measured(arguments):
    assert measurements(arguments(eval_strategy="no"), epoch()) == 0
    assert measurements(arguments(eval_strategy="epoch"), epoch(epochs=2.5)) == 3
    assert measurements(arguments(eval_strategy="steps", eval_steps=0.1), epoch(steps=95)) == 10
    # After 40, 80 and, because training ends there, 100.
    assert measurements(arguments(eval_strategy="steps", eval_steps=40, eval_on_start=True), epoch(steps=100)) == 4


def test_a_tenth_of_the_training_is_not_exceeded(arguments):
    # 2,000 tokens are trained on. Two measurements share 200: three queries of 30 tokens fit 100.
    often = arguments(eval_strategy="steps", eval_steps=0.5)
    validation = judged([3] * 10)
    found = affordable_sample(validation, ReadingCost(300, [10] * 30), often, epoch())
    assert found is not None
    assert (found.queries, found.judged, len(found.places)) == (3, 10, 9)
    assert affordable_sample(validation, ReadingCost(300, [10] * 30), often, epoch()) == found
    # All of them together cost 100: nothing is left out.
    assert affordable_sample(validation, ReadingCost(100, [10] * 30), often, epoch()) is None


def test_where_something_is_chosen_by_it_all_are_measured(arguments):
    cost = ReadingCost(300, [10] * 30)
    for given_ in ({"load_best_model_at_end": True, "save_strategy": "epoch"}, {"metric_for_best_model": "eval_rps"}):
        assert affordable_sample(judged([3] * 10), cost, arguments(eval_strategy="epoch", **given_), epoch()) is None
    assert affordable_sample(judged([3] * 10), cost, arguments(eval_strategy="no"), epoch()) is None


@given(st.lists(st.integers(1, 8), min_size=1, max_size=20), st.integers(1, 3000), st.integers(0, 9))
def test_a_sample_is_of_whole_queries_and_affordable(tmp_path_factory, products, tokens, seed):
    args = TrainingArguments(
        str(tmp_path_factory.getbasetemp()), use_cpu=True, eval_strategy="epoch", seed=seed, report_to="none"
    )
    validation = judged(products)
    cost = ReadingCost(10 * sum(products), [10] * sum(products))
    found = affordable_sample(validation, cost, args, epoch(tokens=tokens))
    if found is None:
        assert 10 * sum(products) * 2 <= 0.1 * tokens * 2
        return
    part = found.of(validation)
    assert {name: len(rows) for name, rows in part.by_query().items()} == {
        name: len(rows) for name, rows in validation.by_query().items() if name in part.by_query()
    }
    assert len(part.by_query()) == found.queries
    assert found.queries == 1 or 10 * len(found.places) * 2 <= 0.1 * tokens * 2


def test_packed_rows_of_a_sample_hold_its_pairs(phase1: Checkpoint, tiny_shop: Dataset):
    validation = tiny_shop.of("validation")
    encoded = phase1.prompt.encode([validation.pair(row) for row in validation.judgments])
    rows = rows_dataset(
        phase1.prompt, validation, gaussian([row.relevance for row in validation.judgments]), row_tokens=512
    )
    cost = reading_cost(rows)
    assert cost.alone == [len(tokens) for tokens in encoded]
    assert cost.together < sum(cost.alone), "products are read once for several queries"
    places = list(range(1, len(encoded), 3))
    found = {
        member: ([*row["prefix"], *tail], row["queries"][i])
        for row in rows_of(rows, places)
        for i, (member, tail) in enumerate(zip(row["members"], row["tails"], strict=True))
    }
    numbers = list(validation.queries)
    assert found == {
        i: (encoded[place], numbers.index(validation.judgments[place].query_id)) for i, place in enumerate(places)
    }
    assert sum(rows_of(rows, places)["length"]) <= sum(cost.alone[place] for place in places)


def test_a_run_measures_a_sample_on_the_way_and_all_at_the_end(phase1: Checkpoint):
    run = TrainingRun.load(phase1.folder / "training.json")
    assert run.sampled == 1
    assert run.after is not None
    assert run.after.queries == 4
    *_, last_on_the_way, end = run.curve("eval_rps")
    assert last_on_the_way[0] == end[0]
    assert end[1] == pytest.approx(run.after.calibration["RPS"].mean, abs=1e-6)
    assert not np.isclose(last_on_the_way[1], end[1])
    assert "1 of the validation queries" in (phase1.folder / "training.html").read_text(encoding="utf-8")
