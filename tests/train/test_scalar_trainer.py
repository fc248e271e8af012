"""The anchor on numbers that one can check by hand, and the state that the readout remembers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gen_rerank import BadInput
from train.recipe import trainer_config
from train.scalar_trainer import ScalarConfig, TrainedReadout


@pytest.fixture
def features() -> Tensor:
    return torch.randn(50, 7, generator=torch.Generator().manual_seed(0))


def moments(features: Tensor) -> Tensor:
    return features.T @ features / len(features)


def test_the_anchor_is_the_mean_squared_change_of_a_logit(features: Tensor) -> None:
    rows = torch.randn(11, 7, generator=torch.Generator().manual_seed(1))
    readout = TrainedReadout(rows, 1.5, moments=moments(features))
    before = readout(features)
    assert readout.drift().item() == pytest.approx(0.0, abs=1e-9)
    assert torch.allclose(before, features @ rows.T / 1.5)
    with torch.no_grad():
        readout.rows[3] += 0.25
        readout.log_temperature += 0.1
    assert readout.drift().item() == pytest.approx((readout(features) - before).square().mean().item(), rel=1e-5)


def test_one_row_that_moves_by_hand() -> None:
    """Two features, (2, 0) and (0, 4), and one row that moves by (1, 1): logits move by 2 and 4 in one bin of 11."""
    readout = TrainedReadout(torch.zeros(11, 2), moments=moments(torch.tensor([[2.0, 0.0], [0.0, 4.0]])))
    with torch.no_grad():
        readout.rows[5] += 1.0
    assert readout.drift().item() == pytest.approx((2**2 + 4**2) / 2 / 11)


@pytest.mark.parametrize("width", [1, 4, 64])
def test_a_wider_model_has_the_same_anchor_for_the_same_logits(width: int) -> None:
    """One feature becomes many copies of it, and each copy brings its part of the change."""
    features = torch.tensor([[1.0], [3.0]]).repeat(1, width)
    readout = TrainedReadout(torch.zeros(11, width), moments=moments(features))
    with torch.no_grad():
        readout.rows += 0.5 / width
    assert readout.drift().item() == pytest.approx((0.5**2 + 1.5**2) / 2)


def test_the_best_state_is_taken_and_how_long_ago_it_was_is_counted() -> None:
    readout = TrainedReadout(torch.zeros(11, 2), moments=torch.eye(2))
    waited = []
    for step, loss in enumerate([0.5, 0.3, 0.3, 0.4, math.nan, 0.2, 0.9]):
        with torch.no_grad():
            readout.rows.fill_(step)
            readout.log_temperature.fill_(step / 10)
        readout.remember(loss)
        waited.append(int(readout.waited))
    assert waited == [0, 0, 1, 2, 3, 0, 1]
    readout.take_best()
    assert readout.rows.unique().tolist() == [5.0]
    assert readout.log_temperature.item() == pytest.approx(0.5)
    assert set(readout.state_dict()) >= {"best_rows", "best_log_temperature", "best_loss", "waited"}


@pytest.mark.parametrize(("name", "value"), [("anchor_weight", -0.1), ("anchor_weight", math.nan), ("patience", 0)])
def test_a_number_out_of_range_is_one_sentence(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"the recipe: {name}: .* is out of range"):
        trainer_config(ScalarConfig, {name: value}, tmp_path)


def test_a_key_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown key 'anchor_wieght'; did you mean 'anchor_weight'"):
        trainer_config(ScalarConfig, {"anchor_wieght": 0.1}, tmp_path)
