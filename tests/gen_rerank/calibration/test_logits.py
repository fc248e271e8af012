"""Logits, a readout and a temperature make a distribution, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank import BadInput
from gen_rerank.calibration.logits import distribution_of
from gen_rerank.checkpoints.card import Calibration, Card, Readout
from gen_rerank.prompting.prompt import PromptSpec

TWO = Readout(kind="yes_no", tokens=("no", "yes"), token_ids=(1, 2), values=(0.0, 1.0))


def test_a_temperature_divides_the_logits() -> None:
    card = Card(readout=TWO, prompt=PromptSpec(), calibration=Calibration(temperature=2.0))
    (mean,) = distribution_of([[0.0, 2 * np.log(3.0)]], card).mean.tolist()
    assert mean == pytest.approx(0.75)


def test_the_columns_are_the_readout_s() -> None:
    card = Card(readout=TWO, prompt=PromptSpec())
    with pytest.raises(BadInput, match="expected logits of shape"):
        distribution_of(np.zeros((1, 11)), card)
