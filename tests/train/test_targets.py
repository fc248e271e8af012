import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BIN_VALUES, BadInput, Judgment
from train.targets import Noise, empirical, gaussian, targets_of

ALIKE = Noise(sigma_max=(0.12, 0.12, 0.12), delta=(0.08, 0.08, 0.08))


@pytest.mark.parametrize(("label", "peak"), [(0.0, 0.93), (1.0, 0.93), (0.2, 0.34), (0.5, 0.33), (0.4, 0.52)])
def test_three_equal_transitions_give_hand_checked_peaks(label, peak):
    assert gaussian([label], ALIKE).max() == pytest.approx(peak, abs=0.005)


def test_the_narrower_published_transition_at_0_8_gives_sharper_targets():
    # At 1: σ = 0.04 + 0.04 exp(-0.2² / 2·0.06²) = 0.04015, the neighbour exp(-0.1² / 2σ²) = 0.0450, 1 / 1.045.
    # At 0.8: σ = 0.08, neighbours exp(-0.78125) = 0.4578 and exp(-3.125) = 0.0439, below also 0.0009; 1 / 2.0043.
    assert gaussian([1.0, 0.8, 0.0, 0.2]).max(axis=1).round(3).tolist() == pytest.approx(
        [0.957, 0.499, 0.933, 0.338], abs=6e-4
    )


def test_sigma_is_largest_at_a_transition_and_small_far_from_it():
    # d = 0 gives sigma_max; at 0.35 both transitions are 0.15 away: 0.04 + 0.08 exp(-0.15² / 2·0.08²) = 0.0538.
    assert Noise().sigma([0.2, 0.5, 0.8, 0.35]).round(4).tolist() == [0.12, 0.12, 0.08, 0.0538]


@given(st.floats(0, 1))
def test_targets_are_mirrored_when_the_constants_are(label):
    # Where two transitions are equally near, rounding decides which is taken; both are alike here.
    assert np.allclose(gaussian([label], ALIKE)[0], gaussian([1 - label], ALIKE)[0, ::-1], atol=1e-5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_target_is_a_distribution_that_peaks_at_the_nearest_bin(labels):
    rows = gaussian(labels)
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert (rows > 0).all()
    assert (np.abs(BIN_VALUES[rows.argmax(axis=1)] - labels) <= 0.05 + 1e-6).all()


def test_the_empirical_target_follows_the_annotators():
    (row,) = empirical([[0.0, 0.0, 1.0]], bandwidth=0.01)
    assert row[0] == pytest.approx(2 / 3, abs=1e-3)
    assert row[10] == pytest.approx(1 / 3, abs=1e-3)


def test_the_empirical_target_needs_labels():
    with pytest.raises(BadInput, match="pair 1 has no annotators' labels"):
        empirical([[0.5], []])


@pytest.mark.parametrize("wrong", [{"delta": (0.1,)}, {"sigma_min": 0.0}])
def test_senseless_noise_is_refused(wrong):
    with pytest.raises(BadInput):
        Noise(**wrong)


def judgment(relevance, *labels):
    return Judgment(query_id="q", product_id="p", relevance=relevance, labels=labels)


def test_each_variance_has_its_targets():
    rows = [judgment(0.5, 0.4, 0.6), judgment(1.0, 1.0, 1.0)]
    noise = Noise(sigma_min=0.02)
    assert np.array_equal(targets_of(rows, "fixed"), gaussian([0.5, 1.0]))
    assert np.array_equal(targets_of(rows, "fixed", noise), gaussian([0.5, 1.0]))
    assert np.array_equal(targets_of(rows, "fitted", noise), gaussian([0.5, 1.0], noise))
    assert np.array_equal(targets_of(rows, "empirical"), empirical([[0.4, 0.6], [1.0, 1.0]]))


def test_where_fewer_than_two_labels_are_given_the_empirical_target_is_the_fixed_one():
    rows = [judgment(0.5), judgment(0.5, 0.4, 0.6), judgment(0.2, 0.2)]
    wanted = targets_of(rows, "empirical")
    assert np.array_equal(wanted[[0, 2]], gaussian([0.5, 0.2]))
    assert np.array_equal(wanted[1:2], empirical([[0.4, 0.6]]))
    assert np.array_equal(targets_of(rows[:1], "empirical"), gaussian([0.5]))


@given(st.lists(st.tuples(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=4)), min_size=1, max_size=8))
def test_targets_are_distributions_whatever_the_labels(pairs):
    for variance in ("fixed", "fitted", "empirical"):
        wanted = targets_of([judgment(relevance, *labels) for relevance, labels in pairs], variance, Noise())
        assert wanted.shape == (len(pairs), 11)
        assert wanted.dtype == np.float32
        assert np.allclose(wanted.sum(axis=1), 1, atol=1e-5)
        assert (wanted > 0).all()


def test_fitted_needs_the_fit():
    with pytest.raises(BadInput, match="variance: fitted needs the noise"):
        targets_of([judgment(0.5)], "fitted")
