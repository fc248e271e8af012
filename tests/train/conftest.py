"""A checkpoint of phase 1, trained once for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank.checkpoints.checkpoint import Checkpoint
from train.distributional import train_distributional

from .tiny import RECIPE


@pytest.fixture(scope="session")
def phase1(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """120 steps on the tiny shop. Do not write into it."""
    return train_distributional(RECIPE, tiny_data, tmp_path_factory.mktemp("runs") / "phase1")
