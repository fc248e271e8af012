"""A LoRA per catalog, for real, on a base that knows the tiny shop and a second shop with other label habits."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Judgment
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.scorers.transformers import TransformersScorer
from train import adapter as module
from train.adapter import is_gain, train_adapter
from train.recipe import Recipe

from . import tiny

SECTION = {"num_train_epochs": 8, "row_tokens": 128, "batch_tokens": 512, "bf16": False, "disable_tqdm": True}
RECIPE = Recipe.model_validate({"lora": {"r": 8, "alpha": 16}, "adapter": SECTION})


@pytest.fixture(scope="session")
def base(phase1: Checkpoint) -> Checkpoint:
    """A model that exists. Do not write into it."""
    return phase1


@pytest.fixture(scope="module")
def other_shop(tiny_shop: Dataset) -> Dataset:
    """The same products, judged by people for whom half a match is nothing."""
    strict = [
        row.model_copy(update={"relevance": round(row.relevance**3, 2), "labels": ()}) for row in tiny_shop.judgments
    ]
    return Dataset(tiny_shop.products, tiny_shop.queries, tuple(strict))


@pytest.fixture(scope="module")
def other_data(other_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    other_shop.save(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base: Checkpoint, other_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return train_adapter(RECIPE, base.folder, other_data, tmp_path_factory.mktemp("adapters") / "strict")


def error(base: Checkpoint, adapter: Adapter | None, judgments: tuple[Judgment, ...], shop: Dataset) -> float:
    scores = TransformersScorer(base, adapter).score([shop.pair(row) for row in judgments]).mean
    return float(np.mean((scores - [row.relevance for row in judgments]) ** 2))


def test_the_shop_gains_and_the_base_stays_what_it_was(base, adapter, other_shop, tiny_shop):
    test = other_shop.of("test").judgments
    assert error(base, adapter, test, other_shop) < error(base, None, test, other_shop)
    # The base itself, on its own shop: the same fingerprint, and the same score to the last bit without the adapter.
    again = Checkpoint.open(base.folder)
    assert again.fingerprint == base.fingerprint == adapter.card.base.fingerprint
    own = tiny_shop.of("test").judgments
    assert error(again, None, own, tiny_shop) == error(base, None, own, tiny_shop)


def test_the_adapter_is_documented_and_its_run_leaves_nothing_else(adapter):
    assert {path.name for path in adapter.folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "gen_rerank.json",
        "README.md", "training.html", "training.json",
    }  # fmt: skip
    assert [path.name for path in adapter.folder.parent.iterdir()] == ["strict"]
    assert adapter.card.calibration.temperature != 1.0


def test_the_written_adapter_gives_the_validation_figures_of_its_training(base, adapter, other_shop):
    validation = other_shop.of("validation")
    scored = TransformersScorer(base, adapter).score([validation.pair(row) for row in validation.judgments])
    from train.training_run import TrainingRun

    after = TrainingRun.load(adapter.folder / "training.json").after
    mse = np.mean((scored.mean - [row.relevance for row in validation.judgments]) ** 2)
    assert after.calibration["MSE"].mean == pytest.approx(float(mse), abs=2e-3)


def test_a_resumed_adapter_ends_where_an_undisturbed_one_does(base, adapter, other_data, tmp_path, monkeypatch):
    def stop(*_):
        raise InterruptedError

    out, run = tmp_path / "strict", tmp_path / "strict.training"
    monkeypatch.setattr(module, "fit_temperature", stop)
    with pytest.raises(InterruptedError):
        train_adapter(RECIPE, base.folder, other_data, out)
    monkeypatch.undo()
    *_, last = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(last)  # as if it had been killed before that state was saved
    resumed = train_adapter(RECIPE, base.folder, other_data, out, resume=True)
    assert resumed.fingerprint == adapter.fingerprint
    assert resumed.card.calibration == adapter.card.calibration


def test_an_adapter_may_learn_by_a_relative_loss(base, other_data, tmp_path):
    """Its training pairs come by whole queries; the loss on the validation queries holds both parts."""
    section = {**SECTION, "num_train_epochs": 3, "relative_loss": "margin_mse", "relative_weight": 2.0}
    recipe = RECIPE.model_copy(update={"adapter": section})
    found = train_adapter(recipe, base.folder, other_data, tmp_path / "strict")
    assert found.card.base.fingerprint == base.fingerprint
    assert found.card.provenance.recipe["adapter"]["relative_loss"] == "margin_mse"


def test_no_gain_no_adapter(base, tiny_shop, tmp_path):
    """Labels that follow from nothing in the texts: the training split cannot help the validation queries."""
    rng = np.random.default_rng(0)

    def noisy(row: Judgment) -> Judgment:
        if tiny_shop.queries[row.query_id].split != "train":
            return row
        return row.model_copy(update={"relevance": float(rng.integers(11)) / 10, "labels": ()})

    noise = tuple(noisy(row) for row in tiny_shop.judgments)
    Dataset(tiny_shop.products, tiny_shop.queries, noise).save(tmp_path / "data")
    with pytest.raises(BadInput, match="no gain over the base") as caught:
        train_adapter(RECIPE, base.folder, tmp_path / "data", tmp_path / "out")
    # That run is over: it is not in the way of the next, which another recipe may help.
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert ".training" not in str(caught.value)


def test_what_is_missing_is_said(base, tiny_shop, tiny_data, tiny_checkpoint, tmp_path):
    tiny_shop.of("train").save(tmp_path / "data")
    with pytest.raises(BadInput, match="no validation query has a judgment"):
        train_adapter(RECIPE, base.folder, tmp_path / "data", tmp_path / "out")
    with pytest.raises(BadInput, match="an adapter uses its base's prompt"):
        train_adapter(tiny.RECIPE, base.folder, tiny_data, tmp_path / "out")
    misspelt = Recipe.model_validate({"adapter": {"patiense": 1}})
    with pytest.raises(BadInput, match="did you mean 'patience'"):
        train_adapter(misspelt, base.folder, tiny_data, tmp_path / "out")


def test_an_adapter_of_another_base_is_refused(adapter, tiny_checkpoint):
    with pytest.raises(BadInput, match="belongs to"):
        Adapter.open(adapter.folder, Checkpoint.open(tiny_checkpoint))


@pytest.mark.parametrize(
    ("ranking", "rps", "expected"),
    [
        ((0.1, 0.2), (-0.01, 0.01), True),  # better order, distributions as good
        ((-0.1, 0.2), (-0.03, -0.01), True),  # the order as good, better distributions
        ((0.1, 0.2), (0.01, 0.03), False),  # better order, worse distributions
        ((-0.1, 0.2), (-0.01, 0.01), False),  # chance
    ],
)
def test_a_gain_is_more_than_chance(ranking, rps, expected):
    gains = {"nDCG@5": Interval(sum(ranking) / 2, *ranking), "RPS": Interval(sum(rps) / 2, *rps)}
    assert is_gain(gains) is expected
