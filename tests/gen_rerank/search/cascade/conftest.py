"""Two real models of one shop: the packaged nano decoder, and an encoder that learned for a few seconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gen_rerank.fitting.calibrating import CalibrationPlan, calibrate


@dataclass(frozen=True)
class TwoModels:
    """Folders that several tests read. Do not write into them."""

    data: Path
    encoder: Path
    decoder: Path


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> TwoModels:
    """A small sample shop, the nano base calibrated on it, and a tiny encoder trained on it."""
    from gen_rerank.data.sample import write_sample
    from train.bases import find_base
    from train.encoder import EncoderRecipe, train_encoder

    folder = tmp_path_factory.mktemp("cascade")
    write_sample(folder / "shop", products=300, queries=200, seed=0)
    recipe = EncoderRecipe.model_validate(
        {
            "shape": {"hidden": 64, "layers": 2, "mlp": 96, "heads": 2, "vocabulary": 512},
            "prompt": {"max_length": 64},
            "encoder": {"learning_rate": 2e-3, "batch_tokens": 2048, "max_steps": 60, "disable_tqdm": True},
        }
    )
    train_encoder(recipe, folder / "shop", folder / "encoder")
    shutil.copytree(find_base("nano").folder, folder / "decoder")
    calibrate(CalibrationPlan(str(folder / "decoder"), folder / "shop", dtype="float32"))
    return TwoModels(folder / "shop", folder / "encoder", folder / "decoder")
