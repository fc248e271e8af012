"""A run's figures survive JSON, whatever the trainer logged."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_rerank import BadInput
from train.charts import training_charts
from train.training_run import TrainingRun

ROW = st.dictionaries(
    st.sampled_from(["loss", "eval_loss", "eval_ndcg@5", "eval_rps", "epoch"]),
    st.floats() | st.integers(-9, 9),
)


@settings(max_examples=60, deadline=None)
@given(history=st.lists(ROW, max_size=8))
def test_any_history_survives_json_and_can_be_charted(bare, history):
    run = replace(bare, history=tuple({**row, "step": step} for step, row in enumerate(history)))
    again = TrainingRun.from_json(json.loads(json.dumps(run.to_json(), allow_nan=False)))
    assert again.curve("loss") == run.curve("loss")
    assert again.broken_steps == run.broken_steps
    for chart in training_charts(again):
        for line in chart.lines:
            assert all(math.isfinite(chart.y.place(y)) for _, y in line.points)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "Expecting"), ("{}", "not a training run: KeyError"), ("[]", "not a training run: TypeError")],
)
def test_a_file_that_is_no_run(tmp_path, content, reason):
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(BadInput, match=reason):
        TrainingRun.load(tmp_path / "training.json")


def test_no_file(tmp_path):
    with pytest.raises(BadInput, match=r"training\.json: cannot be read"):
        TrainingRun.load(tmp_path / "training.json")


def test_which_readout_was_published_survives_json_and_older_runs_open(run):
    row = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert TrainingRun.from_json(row).choice == run.choice
    del row["choice"]
    assert TrainingRun.from_json(row).choice is None
