"""Validation queries that say nothing of the order: training ends with a result that opens, or is refused before it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.checkpoint import Checkpoint
from train.adapter import train_adapter
from train.distributional import train_distributional
from train.encoder import EncoderRecipe, train_encoder
from train.recipe import Recipe
from train.scalar import train_scalar
from train.training_run import TrainingRun

from .tiny import RECIPE

Write = Callable[[float], Path]


def shortened(recipe: Recipe, **arguments: object) -> Recipe:
    section = {**recipe.distributional, "max_steps": 4, "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    return recipe.model_copy(update={"distributional": {**section, **arguments}})


ENCODER = EncoderRecipe.model_validate(
    {
        "shape": {"hidden": 64, "layers": 2, "mlp": 96, "heads": 2, "vocabulary": 512},
        "prompt": {"max_length": 64},
        "encoder": {"batch_tokens": 640, "max_steps": 4, "eval_steps": 2, "disable_tqdm": True},
    }
)


@pytest.fixture
def flat(tiny_shop: Dataset, tmp_path: Path) -> Write:
    """Writes the tiny shop with one relevance for all that is judged in validation."""

    def write(relevance: float) -> Path:
        measured = {key for key, query in tiny_shop.queries.items() if query.split == "validation"}
        rows = [
            row.model_copy(update={"relevance": relevance, "labels": ()}) if row.query_id in measured else row
            for row in tiny_shop.judgments
        ]
        folder = tmp_path / "flat"
        Dataset(tiny_shop.products, tiny_shop.queries, tuple(rows)).save(folder)
        return folder

    return write


def assert_opens_without(measure: str, folder: Path) -> None:
    metrics = Checkpoint.open(folder).card.provenance.metrics
    assert metrics is not None
    assert "validation_rps" in metrics
    assert measure not in metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert "null" not in json.dumps(json.loads((folder / "gen_rerank.json").read_text())["provenance"]["metrics"])
    after = TrainingRun.load(folder / "training.json").after
    assert after is not None
    assert "nDCG@5" not in after.ranking
    assert len(after.unranked.alike) == after.queries
    assert "nan" not in (folder / "README.md").read_text().lower().split()
    assert "not measured" in (folder / "training.html").read_text()


def test_phase_1_without_a_relevant_product_opens_and_phase_2_too(flat: Write, tmp_path: Path) -> None:
    data = flat(0.0)
    first = train_distributional(shortened(RECIPE), data, tmp_path / "phase1")
    assert_opens_without("validation_ndcg@5", first.folder)
    assert_opens_without("validation_ndcg@5", train_scalar(RECIPE, first.folder, data, tmp_path / "phase2").folder)


def test_an_encoder_without_a_relevant_product_opens(flat: Write, tmp_path: Path) -> None:
    assert_opens_without("validation_ndcg@5", train_encoder(ENCODER, flat(0.0), tmp_path / "encoder").folder)


def test_a_loss_that_is_no_number_is_no_metric(phase1: Checkpoint) -> None:
    card = phase1.card
    assert card.provenance.metrics is not None
    broken = {**card.provenance.metrics, "train_loss": float("nan")}
    provenance = type(card.provenance).model_validate({**card.provenance.model_dump(), "metrics": broken})
    assert provenance.metrics is not None
    assert "train_loss" not in provenance.metrics
    assert "validation_rps" in provenance.metrics


@pytest.mark.parametrize("relevance", [0.0, 0.7, 1.0])
def test_an_adapter_that_could_show_no_gain_is_refused_before_any_work(
    relevance: float, phase1: Checkpoint, tiny_shop: Dataset, tmp_path: Path
) -> None:
    """Four queries can be ranked: of the others all is alike."""
    rankable = [key for key, query in tiny_shop.queries.items() if query.split != "test"][:4]
    rows = [
        row if row.query_id in rankable else row.model_copy(update={"relevance": relevance, "labels": ()})
        for row in tiny_shop.judgments
    ]
    Dataset(tiny_shop.products, tiny_shop.queries, tuple(rows)).save(tmp_path / "flat")
    with pytest.raises(BadInput, match=r"too few queries to judge by: .* in 4 queries, and at least 5 are needed"):
        train_adapter(Recipe.load("adapter"), phase1.folder, tmp_path / "flat", tmp_path / "adapter")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flat"]


def test_the_best_state_is_chosen_by_a_measure_that_is_defined(flat: Write, tmp_path: Path) -> None:
    data = flat(0.0)
    best = {"load_best_model_at_end": True, "save_strategy": "steps"}
    wanted = shortened(RECIPE, **best, metric_for_best_model="eval_ndcg@5")
    with pytest.raises(BadInput, match=r"no validation query can be ranked.*choose eval_rps or eval_loss"):
        train_distributional(wanted, data, tmp_path / "model")
    assert not (tmp_path / "model.training").exists()
    by_rps = shortened(RECIPE, **best, metric_for_best_model="rps")
    assert_opens_without("validation_ndcg@5", train_distributional(by_rps, data, tmp_path / "model").folder)


def test_an_older_card_with_a_null_metric_opens(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny_checkpoint, tmp_path / "older")
    card = json.loads((folder / "gen_rerank.json").read_text())
    card["provenance"] = {"metrics": {"train_loss": 0.5, "validation_ndcg@5": None}}
    (folder / "gen_rerank.json").write_text(json.dumps(card))
    assert Checkpoint.open(folder).card.provenance.metrics == {"train_loss": 0.5}
