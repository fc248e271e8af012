"""What several of these tests need: the packaged nano model as the benchmarks write it."""

from __future__ import annotations

import pytest

from gen_rerank.checkpoints.checkpoint import Checkpoint
from harness.models import make_model
from harness.traffic import Settings


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> Checkpoint:
    return Checkpoint.open(make_model(Settings("nano"), tmp_path_factory.mktemp("models")))
