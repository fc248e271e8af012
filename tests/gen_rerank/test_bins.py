"""Distributions: values worked out by hand, refusals, and properties that hold for any distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gen_rerank import BIN_TOKENS, BIN_VALUES, BadInput, Distribution
from gen_rerank.bins import BIN_COUNT, best_first, bin_columns

settings.register_profile("fast", max_examples=50, deadline=None)
settings.load_profile("fast")

logits = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(BIN_COUNT)), elements=st.floats(-50, 50))


def rows(*pairs: dict[int, float]) -> Distribution:
    table = np.zeros((len(pairs), BIN_COUNT))
    for row, weights in zip(table, pairs, strict=True):
        for column, weight in weights.items():
            row[column] = weight
    return Distribution(table)


# Half on 0.2, half on 0.6; everything on 1.0; a quarter each on 0, 0.1, 0.2 and 1.
BY_HAND = rows({2: 0.5, 6: 0.5}, {10: 1.0}, {0: 0.25, 1: 0.25, 2: 0.25, 10: 0.25})


def test_tokens_and_values():
    assert BIN_TOKENS[0] == "<|rel_0|>"
    assert BIN_TOKENS[-1] == "<|rel_10|>"
    assert BIN_VALUES.tolist() == pytest.approx([k / 10 for k in range(11)])


def test_moments_by_hand():
    assert BY_HAND.mean.tolist() == pytest.approx([0.4, 1.0, 0.325])
    # 0.25 · (0 + 0.01 + 0.04 + 1) − 0.325² = 0.2625 − 0.105625
    assert BY_HAND.variance.tolist() == pytest.approx([0.04, 0.0, 0.156875], abs=1e-7)
    assert BY_HAND.std.tolist() == pytest.approx([0.2, 0.0, math.sqrt(0.156875)], abs=1e-7)
    assert BY_HAND.entropy.tolist() == pytest.approx([math.log(2), 0.0, math.log(4)], abs=1e-6)
    assert len(BY_HAND) == 3


def test_everything_is_float32():
    for value in (
        BY_HAND.mean,
        BY_HAND.variance,
        BY_HAND.std,
        BY_HAND.entropy,
        BY_HAND.cumulative,
        BY_HAND.quantile(0.5),
    ):
        assert value.dtype == np.float32


def test_quantiles_by_hand():
    assert BY_HAND.quantile(0.5).tolist() == pytest.approx([0.2, 1.0, 0.1])
    assert BY_HAND.quantile(0.51).tolist() == pytest.approx([0.6, 1.0, 0.2])
    assert BY_HAND.quantile(0.0).tolist() == pytest.approx([0.0, 0.0, 0.0])
    assert BY_HAND.quantile(1.0).tolist() == pytest.approx([0.6, 1.0, 1.0])


def test_mass_by_hand():
    assert BY_HAND.mass_at_least(0.6).tolist() == pytest.approx([0.5, 1.0, 0.25])
    assert BY_HAND.mass_at_least(0.61).tolist() == pytest.approx([0.0, 1.0, 0.25])
    assert BY_HAND.mass_at_least(0.0).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert BY_HAND.mass_at_least(0.3).tolist() == pytest.approx([0.5, 1.0, 0.25])  # 0.3 is 3 · 0.1, not exact in floats


def test_cumulative_by_hand():
    assert BY_HAND.cumulative[0].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1])


def test_uniform_entropy_is_the_largest():
    assert Distribution(np.full((1, 11), 1 / 11)).entropy[0] == pytest.approx(math.log(11), abs=1e-6)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.ones(11) / 11, "shape"),
        (np.ones((2, 10)) / 10, "shape"),
        (np.full((1, 11), np.nan), "not finite in row 0"),
        (np.array([[1.0] + [0.0] * 10, [np.inf] + [0.0] * 10]), "not finite in row 1"),
        (np.array([[1.5, -0.5] + [0.0] * 9]), "negative in row 0"),
        (np.array([[1.0] + [0.0] * 10, [0.5] + [0.0] * 10]), "sum to 0.5, not 1, in row 1"),
        (np.zeros((1, 11)), "sum to 0"),
    ],
)
def test_refused_probabilities(table, reason):
    with pytest.raises(BadInput, match=reason):
        Distribution(table)


def test_small_errors_of_the_sum_are_mended():
    d = Distribution(np.array([[0.5, 0.4995] + [0.0] * 9]))
    assert d.probabilities.sum() == pytest.approx(1.0, abs=1e-6)


def test_probabilities_cannot_be_written_and_the_input_is_not_touched():
    given_table = np.eye(11)[[3]]
    d = Distribution(given_table)
    with pytest.raises(ValueError, match="read-only"):
        d.probabilities[0, 0] = 1.0
    given_table[0, 0] = 5.0
    assert d.mean[0] == pytest.approx(0.3)


def test_rows_and_concatenation():
    assert BY_HAND[[1, 0]].mean.tolist() == pytest.approx([1.0, 0.4])
    assert BY_HAND[1:].mean.tolist() == pytest.approx([1.0, 0.325])
    assert Distribution.concatenate([BY_HAND[:1], BY_HAND[1:]]).probabilities.tolist() == BY_HAND.probabilities.tolist()
    assert len(Distribution.concatenate([])) == 0


def test_yes_no_is_a_two_point_distribution():
    d = Distribution.from_logits([[2.0, 1.0], [0.0, 0.0]], values=[1.0, 0.0])
    yes = math.exp(2) / (math.exp(2) + math.exp(1))
    assert d.mean.tolist() == pytest.approx([yes, 0.5])
    assert d.probabilities[0, 1:10].sum() == 0
    assert d.std.tolist() == pytest.approx([math.sqrt(yes * (1 - yes)), 0.5])


def test_temperature_flattens_by_hand():
    d = Distribution.from_logits([[math.log(9), 0.0]], values=[1.0, 0.0], temperature=2.0)
    assert d.mean[0] == pytest.approx(0.75)  # 9 ** ½ : 1


@pytest.mark.parametrize(
    ("table", "options", "reason"),
    [
        ([[0.0] * 10], {}, "shape"),
        ([0.0] * 11, {}, "shape"),
        ([[0.0, 1.0, 2.0]], {"values": [0.0, 1.0]}, "shape"),
        ([[math.nan] * 11], {}, "not finite in row 0"),
        ([[0.0] * 11], {"temperature": 0.0}, "temperature"),
        ([[0.0] * 11], {"temperature": math.nan}, "temperature"),
        ([[0.0, 0.0]], {"values": [0.0, 0.05]}, "0.05"),
        ([[0.0, 0.0]], {"values": [0.5, 0.5]}, "same value"),
        ([[0.0, 0.0]], {"values": [0.0, 1.1]}, "1.1"),
    ],
)
def test_refused_logits(table, options, reason):
    with pytest.raises(BadInput, match=reason):
        Distribution.from_logits(table, **options)


def test_bin_columns():
    assert bin_columns([1.0, 0.3, 0.0]) == [10, 3, 0]


@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_refused_quantile_level(level):
    with pytest.raises(BadInput, match="quantile level"):
        BY_HAND.quantile(level)


@given(logits, st.floats(-1000, 1000))
def test_a_shift_of_the_logits_changes_nothing(table, shift):
    shifted = Distribution.from_logits(table + shift).probabilities
    assert np.allclose(Distribution.from_logits(table).probabilities, shifted, atol=1e-6)


@given(logits, st.floats(0.05, 20))
def test_any_logits_give_a_distribution(table, temperature):
    d = Distribution.from_logits(table, temperature=temperature)
    assert np.allclose(d.probabilities.sum(axis=1), 1, atol=1e-5)
    assert ((d.mean >= 0) & (d.mean <= 1)).all()
    assert ((d.variance >= 0) & (d.variance <= 0.25 + 1e-6)).all()
    assert ((d.entropy >= -1e-6) & (d.entropy <= math.log(11) + 1e-5)).all()


@given(logits, st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_mass_falls_and_quantiles_rise(table, levels):
    d = Distribution.from_logits(table)
    for low, high in zip(sorted(levels), sorted(levels)[1:], strict=False):
        assert (d.mass_at_least(low) >= d.mass_at_least(high) - 1e-6).all()
        assert (d.quantile(low) <= d.quantile(high)).all()


@given(logits, st.floats(0.01, 0.99))
def test_quantile_inverts_the_mass(table, level):
    d = Distribution.from_logits(table)
    for row, value in enumerate(d.quantile(level).tolist()):
        assert d[[row]].mass_at_least(value)[0] >= 1 - level - 1e-4


def test_levels_by_hand():
    assert BY_HAND.levels(2)[:2].round(6).tolist() == [[0.6, 0.4], [0, 1]]
    assert BY_HAND.levels(3).round(6).tolist() == [[0.3, 0.6, 0.1], [0, 0, 1], [0.6, 0.15, 0.25]]
    # A level every other bin: nothing is shared but by the bins between.
    assert rows({2: 1.0}, {3: 1.0}).levels(6).round(6).tolist() == [[0, 1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0, 0]]
    with pytest.raises(BadInput, match="two levels or more"):
        BY_HAND.levels(1)


@given(logits, st.integers(2, 10))
def test_levels_keep_mass_and_mean(table, count):
    d = Distribution.from_logits(table)
    levels = d.levels(count)
    assert levels.shape == (len(table), count)
    assert ((levels >= 0) & (levels <= 1)).all()
    assert np.allclose(levels.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(levels @ np.arange(count), (count - 1) * d.mean, atol=1e-5)


@given(logits)
def test_eleven_levels_are_the_bins(table):
    d = Distribution.from_logits(table)
    assert np.allclose(d.levels(BIN_COUNT), d.probabilities, atol=1e-6)


@given(arrays(np.float64, (3, 2), elements=st.floats(-30, 30)))
def test_two_columns_are_a_sigmoid_of_the_difference(table):
    d = Distribution.from_logits(table, values=[1.0, 0.0])
    expected = 1 / (1 + np.exp(table[:, 1] - table[:, 0]))
    assert np.allclose(d.mean, expected, atol=1e-6)
    assert (d.probabilities[:, 1:10] == 0).all()


def test_the_best_come_first_and_equal_scores_stay_in_order():
    assert best_first([0.5, 0.6, 0.5, 0.6, 0.5]) == [1, 3, 0, 2, 4]
    assert best_first(np.float32([0.1, 0.9])) == [1, 0]
    assert best_first([]) == []
