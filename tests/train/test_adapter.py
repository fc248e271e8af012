"""A LoRA per catalog, for real, on a base that knows the tiny shop and a second shop with other label habits."""

from pathlib import Path

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Judgment
from gen_rerank.scorers.transformers import TransformersScorer
from train import adapter as module
from train.adapter import train_adapter
from train.recipe import Recipe

from . import tiny

FOLDS = 3
# Twelve queries leave much open, so the margin is wide; the rule has tests of its own.
SECTION = {
    "folds": FOLDS, "ranking_margin": 0.2, "num_train_epochs": 5, "row_tokens": 128, "batch_tokens": 512, "bf16": False,
    "disable_tqdm": True,
}  # fmt: skip
RECIPE = Recipe.model_validate({"lora": {"r": 8, "alpha": 16}, "adapter": SECTION})


@pytest.fixture(scope="session")
def base(phase1: Checkpoint) -> Checkpoint:
    """A model that exists. Do not write into it."""
    return phase1


@pytest.fixture(scope="module")
def other_shop(tiny_shop: Dataset) -> Dataset:
    """The same products, judged by people for whom half a match is nothing; the base has not learned its queries."""
    other = {"train": "test", "test": "train", "validation": "validation"}
    queries = {key: query.model_copy(update={"split": other[query.split]}) for key, query in tiny_shop.queries.items()}
    strict = [
        row.model_copy(update={"relevance": round(row.relevance**3, 2), "labels": ()}) for row in tiny_shop.judgments
    ]
    return Dataset(tiny_shop.products, queries, tuple(strict))


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
        "README.md", "training.html", "training.json", "calibration.html", "calibration.json",
    }  # fmt: skip
    assert [path.name for path in adapter.folder.parent.iterdir()] == ["strict"]
    assert adapter.card.calibration.temperature != 1.0
    assert set(adapter.card.calibration.thresholds) == {"exact", "close"}
    assert adapter.card.calibration.source.model == adapter.fingerprint
    assert not any(promise.kept for promise in adapter.card.calibration.promises.values()), "it knows all queries"


def test_the_report_has_the_figures_of_held_out_queries(adapter, other_shop):
    from train.training_run import TrainingRun

    run = TrainingRun.load(adapter.folder / "training.json")
    assert run.after.queries == run.before.queries == 12  # those of train and validation
    assert len(run.remarks) >= 2
    page = (adapter.folder / "training.html").read_text()
    assert "training and validation queries, each held out once" in page
    assert "queries show a gain of" in page
    assert "(cross-fitting)" in (adapter.folder / "README.md").read_text()
    # What was written is as good as what was held out promised: strength and temperature are those of the folds.
    judged = {**other_shop.of("train").queries, **other_shop.of("validation").queries}
    rows = tuple(row for row in other_shop.judgments if row.query_id in judged)
    found = error(Checkpoint.open(run.base), adapter, rows, other_shop)
    assert found == pytest.approx(run.after.calibration["MSE"].mean, abs=0.01)


def killed(*_: object) -> None:
    raise InterruptedError


def test_a_resumed_adapter_ends_where_an_undisturbed_one_does(base, adapter, other_data, tmp_path, monkeypatch):
    """Killed in its second fold, in its own training, and after it."""
    out, run = tmp_path / "strict", tmp_path / "strict.training"
    trained = []

    def held_out_logits(self, *arguments):
        trained.append(self)
        return killed() if len(trained) == 2 else fold(self, *arguments)

    fold = module.CatalogAdapter._held_out_logits
    monkeypatch.setattr(module.CatalogAdapter, "_held_out_logits", held_out_logits)
    with pytest.raises(InterruptedError):
        train_adapter(RECIPE, base.folder, other_data, out)
    assert [path.name for path in run.glob("fold-*")] == ["fold-1.safetensors"]
    with pytest.raises(BadInput, match=r"an unfinished run with fold-1.safetensors is there; go on with --resume"):
        train_adapter(RECIPE, base.folder, other_data, out)

    monkeypatch.setattr(module.CatalogAdapter, "measure", killed)
    with pytest.raises(InterruptedError):
        train_adapter(RECIPE, base.folder, other_data, out, resume=True)
    assert len(trained) == 2 + FOLDS - 1  # the first fold was kept
    assert len(list(run.glob("fold-*"))) == FOLDS
    assert list(run.glob("checkpoint-*"))

    monkeypatch.undo()
    monkeypatch.setattr(module.CatalogAdapter, "_held_out_logits", killed)  # every fold is kept
    resumed = train_adapter(RECIPE, base.folder, other_data, out, resume=True)
    assert resumed.fingerprint == adapter.fingerprint
    assert resumed.card.calibration == adapter.card.calibration


def test_an_adapter_may_learn_by_a_relative_loss(base, other_data, tmp_path):
    """Its training pairs come by whole queries; the loss on the validation queries holds both parts."""
    section = {**SECTION, "folds": 2, "num_train_epochs": 2, "relative_loss": "margin_mse", "relative_weight": 2.0}
    recipe = RECIPE.model_copy(update={"adapter": section})
    found = train_adapter(recipe, base.folder, other_data, tmp_path / "strict")
    assert found.card.base.fingerprint == base.fingerprint
    assert found.card.provenance.recipe["adapter"]["relative_loss"] == "margin_mse"


def test_no_gain_no_adapter(base, tiny_shop, tmp_path):
    """Labels that follow from nothing in the texts: what is learned cannot help queries that are held out."""
    rng = np.random.default_rng(0)

    def noisy(row: Judgment) -> Judgment:
        return row.model_copy(update={"relevance": float(rng.integers(11)) / 10, "labels": ()})

    noise = tuple(noisy(row) for row in tiny_shop.judgments)
    Dataset(tiny_shop.products, tiny_shop.queries, noise).save(tmp_path / "data")
    recipe = RECIPE.model_copy(update={"adapter": {**SECTION, "num_train_epochs": 3, "ranking_margin": 0.01}})
    with pytest.raises(BadInput, match=r"no adapter was written: .*queries show a gain of") as caught:
        train_adapter(recipe, base.folder, tmp_path / "data", tmp_path / "out")
    # That run is over: it is not in the way of the next, which another recipe may help.
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert ".training" not in str(caught.value)


def test_what_is_wrong_is_said(base, tiny_data, tmp_path):
    few = Recipe.model_validate({"adapter": {"folds": 1}})
    with pytest.raises(BadInput, match="folds: 1 is out of range"):
        train_adapter(few, base.folder, tiny_data, tmp_path / "out")
    chosen = Recipe.model_validate({"adapter": {"metric_for_best_model": "eval_loss"}})
    with pytest.raises(BadInput, match="metric_for_best_model has no use here"):
        train_adapter(chosen, base.folder, tiny_data, tmp_path / "out")
    unmeasured = Recipe.model_validate({"adapter": {"eval_strategy": "no"}})
    with pytest.raises(BadInput, match="the folds of an adapter are measured"):
        train_adapter(unmeasured, base.folder, tiny_data, tmp_path / "out")
    with pytest.raises(BadInput, match="an adapter uses its base's prompt"):
        train_adapter(tiny.RECIPE, base.folder, tiny_data, tmp_path / "out")
    misspelt = Recipe.model_validate({"adapter": {"patiense": 1}})
    with pytest.raises(BadInput, match="did you mean 'patience'"):
        train_adapter(misspelt, base.folder, tiny_data, tmp_path / "out")


def test_an_adapter_of_another_base_is_refused(adapter, tiny_checkpoint):
    with pytest.raises(BadInput, match="belongs to"):
        Adapter.open(adapter.folder, Checkpoint.open(tiny_checkpoint))
