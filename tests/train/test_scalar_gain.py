"""Phase 2 on the packaged nano base: with nothing to gain it changes nothing, with another scale of labels it gains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gen_rerank import Dataset, Distribution
from gen_rerank.checkpoints.card import CARD, Calibration, Card, Readout, ScoreMap
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.sample import make_sample
from gen_rerank.evaluation.evaluation import MSE, RPS
from gen_rerank.scorers.transformers import TransformersScorer
from train.recipe import Recipe
from train.scalar import train_scalar
from train.training_run import TrainingRun

pytestmark = pytest.mark.usefixtures("one_thread")

Write = Callable[[float], Path]

NANO = Recipe.load("nano")
QUICK = {"learning_rate": 2e-3, "per_device_train_batch_size": 128, "max_steps": 60, "disable_tqdm": True}
RECIPE = NANO.model_copy(update={"scalar": {**NANO.scalar, **QUICK}})
SAME = ScoreMap(scores=(0.0, 1.0), relevances=(0.0, 1.0))
CALIBRATION = Calibration(temperature=1.1, thresholds={"exact": 0.8}, score_map=SAME)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The packaged base as a checkpoint with a temperature and a tier."""
    folder = tmp_path_factory.mktemp("nano") / "model"
    shutil.copytree(str(files("train").joinpath("bases", "nano")), folder)
    card = Card(readout=Readout.of(read_tokenizer(folder)), prompt=NANO.prompt, calibration=CALIBRATION)
    card.save(folder)
    return Checkpoint.open(folder)


@pytest.fixture(scope="module")
def said(nano: Checkpoint) -> tuple[Dataset, Distribution]:
    """A shop, and what the checkpoint says of it."""
    shop = make_sample(seed=3, products=1000, queries=60)
    return shop, TransformersScorer(nano).score([shop.pair(row) for row in shop.judgments])


@pytest.fixture
def judged(said: tuple[Dataset, Distribution], tmp_path: Path) -> Write:
    """Writes the shop, judged as the checkpoint scores it, to some power."""

    def write(power: float) -> Path:
        shop, scores = said
        rows = [
            row.model_copy(update={"relevance": round(float(score) ** power, 6), "labels": ()})
            for row, score in zip(shop.judgments, scores.mean, strict=True)
        ]
        folder = tmp_path / "shop"
        Dataset(shop.products, shop.queries, tuple(rows)).save(folder)
        return folder

    return write


def test_rows_that_are_optimal_are_published_byte_for_byte(
    nano: Checkpoint, judged: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = train_scalar(RECIPE, nano.folder, judged(1.0), tmp_path / "model", console=Console(width=200))
    for file in nano.folder.iterdir():
        if file.name != CARD:
            assert (made.folder / file.name).read_bytes() == file.read_bytes(), file.name
    assert made.card.calibration == CALIBRATION
    run = TrainingRun.load(made.folder / "training.json")
    assert run.choice is not None
    assert not run.choice.trained
    assert {name: (gain.mean, gain.low, gain.high) for name, gain in run.gain.items()} == dict.fromkeys(
        run.gain, (0.0, 0.0, 0.0)
    )
    provenance = json.loads((made.folder / CARD).read_text())["provenance"]
    assert provenance["readout_choice"]["published"] == "as it came"
    for text in (
        capsys.readouterr().out,
        *((made.folder / name).read_text() for name in ("README.md", "training.html")),
    ):
        assert "The readout stays as it came, and the scores with it" in text


def test_another_scale_of_labels_is_learned(
    nano: Checkpoint, judged: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = judged(2.0)
    made = train_scalar(RECIPE, nano.folder, data, tmp_path / "model", console=Console(width=200))
    validation = Dataset.load(data).of("validation")
    gold = [row.relevance for row in validation.judgments]
    before, after = (
        TransformersScorer(one).score([validation.pair(row) for row in validation.judgments]).mean
        for one in (nano, made)
    )
    assert np.mean((after - gold) ** 2) < 0.5 * np.mean((before - gold) ** 2)
    run = TrainingRun.load(made.folder / "training.json")
    assert run.choice is not None
    assert run.choice.trained
    assert run.gain[MSE].high < 0
    assert run.gain[RPS].high < 0
    assert "The trained readout is published" in capsys.readouterr().out
    found = made.card.calibration
    assert found.source is not None, "what it came with belongs to the scores from before"
    assert found.source.model == made.fingerprint
    assert found.score_map != SAME
