import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BIN_VALUES, BadInput
from train.targets import Noise, empirical, gaussian


@pytest.mark.parametrize(("label", "peak"), [(0.0, 0.93), (1.0, 0.93), (0.2, 0.34), (0.5, 0.33), (0.4, 0.52)])
def test_the_published_constants_give_the_published_peaks(label, peak):
    noise = Noise(sigma_max=(0.12, 0.12, 0.12), delta=(0.08, 0.08, 0.08))
    assert gaussian([label], noise).max() == pytest.approx(peak, abs=0.005)


def test_sigma_is_largest_at_a_transition_and_small_far_from_it():
    # d = 0 gives sigma_max; at 0.35 both transitions are 0.15 away: 0.04 + 0.08 exp(-0.15² / 2·0.08²) = 0.0538.
    assert Noise().sigma([0.2, 0.5, 0.8, 0.35]).round(4).tolist() == [0.12, 0.12, 0.08, 0.0538]


def test_targets_at_the_ends_are_mirrored_when_the_constants_are():
    noise = Noise(sigma_max=(0.12, 0.12, 0.12), delta=(0.08, 0.08, 0.08))
    left, right = gaussian([0.1], noise)[0], gaussian([0.9], noise)[0]
    assert np.allclose(left, right[::-1], atol=1e-6)


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
