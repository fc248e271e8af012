"""One σ(y), by hand, the same for numbers, arrays and tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gen_rerank.data.sigma import sigma

DISTANCES = [0.0, 0.05, 0.3]


def test_by_hand() -> None:
    assert sigma(0.0, 0.04, 0.12, 0.08, math.exp) == pytest.approx(0.12)
    assert sigma(0.08, 0.04, 0.12, 0.08, math.exp) == pytest.approx(0.04 + 0.08 * math.exp(-0.5))
    assert sigma(10.0, 0.04, 0.12, 0.08, math.exp) == 0.04


def test_arrays_and_tensors_say_what_numbers_say() -> None:
    numbers = [sigma(d, 0.04, 0.12, 0.08, math.exp) for d in DISTANCES]
    assert sigma(np.array(DISTANCES), 0.04, 0.12, 0.08, np.exp).tolist() == pytest.approx(numbers)
    tensor = torch.tensor(DISTANCES, dtype=torch.float64, requires_grad=True)
    found = sigma(tensor, 0.04, 0.12, 0.08, torch.exp)
    assert found.tolist() == pytest.approx(numbers)
    found.sum().backward()
    assert tensor.grad is not None
    assert tensor.grad[0] == 0
    assert (tensor.grad[1:] < 0).all()
