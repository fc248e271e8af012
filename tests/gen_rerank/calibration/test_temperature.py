"""A temperature that is known is found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from gen_rerank.calibration.temperature import fit_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_planted_temperature_is_found(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (50, 11))
    assert fit_temperature(logits, softmax(logits / temperature, axis=1)) == pytest.approx(temperature, abs=0.01)


def test_it_takes_float32() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (5, 11)).astype(np.float32)
    assert fit_temperature(logits, softmax(logits, axis=1)) == pytest.approx(1.0, abs=0.01)
