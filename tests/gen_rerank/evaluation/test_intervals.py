"""Intervals: against normal theory, coverage of the truth, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gen_rerank import BadInput
from gen_rerank.evaluation import intervals
from gen_rerank.evaluation.intervals import Interval, bootstrap, paired


def test_bootstrap_is_that_of_normal_theory():
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    found = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.002)
    assert found.high == pytest.approx(values.mean() + half, abs=0.002)


def test_bootstrap_covers_the_truth():
    rng = np.random.default_rng(1)
    found = [bootstrap(rng.beta(4, 1, 80), resamples=400, seed=i) for i in range(200)]
    assert 0.90 <= np.mean([one.low <= 0.8 <= one.high for one in found]) <= 0.99


def test_bootstrap_is_seeded_and_leaves_out_nan():
    values = np.random.default_rng(0).random(50).tolist()
    assert bootstrap(values) == bootstrap([*values, math.nan])
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_bootstrap_of_one_value():
    assert bootstrap([0.3]) == Interval(0.3, 0.3, 0.3)


def test_bootstrap_in_pieces_is_bounded_in_memory(monkeypatch):
    monkeypatch.setattr(intervals, "BOOTSTRAP_CELLS", 100)
    found = bootstrap(np.arange(30) / 30)
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, 1.0], [[0.1, 0.2]]])
def test_refused_bootstrap(values):
    with pytest.raises(BadInput, match="bootstrap"):
        bootstrap(values)


def test_a_paired_interval_is_narrower_than_two_apart():
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    a, b = hard * 0.8 + 0.15 + rng.normal(0, 0.01, 200), hard * 0.8 + 0.1
    found = paired(a, b)
    assert found.mean == pytest.approx(0.05, abs=0.005)
    assert found.low > 0.04
    assert bootstrap(a).low < bootstrap(b).high
    assert paired(a, a) == Interval(0.0, 0.0, 0.0)
    with pytest.raises(BadInput, match="same queries"):
        paired([1.0], [1.0, 2.0])


def test_interval_as_json_and_text():
    one = Interval(0.91234, 0.9, 0.93)
    assert one.to_json() == [0.91234, 0.9, 0.93]
    assert Interval.from_json(one.to_json()) == one
    assert str(one) == "0.912 [0.900, 0.930]"
