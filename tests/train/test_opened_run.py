"""Before any work: the data are shown, what is in the way is said, and nothing is measured where nothing is judged."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from gen_rerank import BadInput, Dataset
from train import defaults
from train.opened_run import OpenedRun
from train.trainers import DistributionalConfig


@pytest.fixture
def unvalidated(tiny_shop: Dataset, tmp_path: Path) -> OpenedRun:
    tiny_shop.of("train").save(tmp_path / "data")
    return OpenedRun.open(tmp_path / "data", tmp_path / "out", Console(quiet=True))


def test_counts_are_shown_and_nothing_is_written(tiny_data: Path, tmp_path: Path) -> None:
    text = io.StringIO()
    run = OpenedRun.open(tiny_data, tmp_path / "out", Console(file=text, width=120))
    assert "64 products" in text.getvalue()
    assert run.validated
    assert run.folder == tmp_path / "out.training"
    assert list(tmp_path.iterdir()) == []


def test_without_validation_queries_nothing_is_measured(unvalidated: OpenedRun) -> None:
    config = unvalidated.arguments(DistributionalConfig, {}, defaults.DISTRIBUTIONAL)
    assert config.eval_strategy == "no"
    with pytest.raises(BadInput, match="eval_strategy needs judged queries"):
        unvalidated.arguments(DistributionalConfig, {"eval_strategy": "steps"}, defaults.DISTRIBUTIONAL)


def test_the_recipe_has_the_last_word(tiny_data: Path, tmp_path: Path) -> None:
    run = OpenedRun.open(tiny_data, tmp_path / "out", Console(quiet=True))
    config = run.arguments(DistributionalConfig, {"learning_rate": 0.5}, defaults.DISTRIBUTIONAL_LORA)
    assert (config.learning_rate, config.eval_strategy, config.save_total_limit) == (0.5, "steps", 2)
