"""A student learns from a teacher for real: a tiny encoder from nothing, a tiny decoder and a bi-encoder that teach."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from train import teacher as teachers
from train.distil import DistilConfig, TeachingPlan, train_distil
from train.encoder import EncoderRecipe
from train.encoder_trainer import EncoderTrainer
from train.recipe import trainer_config
from train.teacher_cache import TeacherCache
from train.training_run import TrainingRun

RECIPE = EncoderRecipe.model_validate(
    {
        "shape": {"hidden": 64, "layers": 2, "mlp": 96, "heads": 2, "vocabulary": 512},
        "prompt": {"max_length": 64},
        "distil": {
            "learning_rate": 2e-3, "batch_tokens": 1024, "max_steps": 12, "save_steps": 6, "logging_steps": 3,
            "eval_strategy": "no", "bf16": False, "disable_tqdm": True,
        },
    }
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(**arguments) -> EncoderRecipe:
    return RECIPE.model_copy(update={"distil": {**RECIPE.distil, **arguments}})


@pytest.fixture(scope="module")
def unjudged(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training pairs of the tiny shop as a file without labels."""
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    train = tiny_shop.of("train")
    rows = [
        {"query": train.queries[row.query_id].text, "product": train.products[row.product_id].model_dump()}
        for row in train.judgments
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def read(monkeypatch) -> list[int]:
    """How many pairs or texts each teacher's part had that was really read."""
    parts: list[int] = []
    add = TeacherCache.add

    def counted(cache: TeacherCache, keys, rows) -> None:
        parts.append(len(keys))
        add(cache, keys, rows)

    monkeypatch.setattr(TeacherCache, "add", counted)
    return parts


def test_a_student_of_unjudged_pairs_is_a_checkpoint_that_says_who_taught_it(
    unjudged, tiny_checkpoint, tiny_shop, tmp_path, read
):
    plan = TeachingPlan(str(tiny_checkpoint), cache=tmp_path / "cache")
    student = train_distil(RECIPE, plan, unjudged, tmp_path / "student")
    pairs = len(tiny_shop.of("train").judgments)
    assert sum(read) == pairs
    teaching = student.card.provenance.teaching
    assert (teaching.teacher, teaching.pairs, teaching.judged) == (str(tiny_checkpoint), pairs, 0)
    assert (teaching.label_weight, teaching.how) == (0.0, "its distributions")
    assert teaching.fingerprint in (student.folder / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "student"]
    history = TrainingRun.load(student.folder / "training.json").history
    losses = [float(row["loss"]) for row in history if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]

    part = tiny_shop.of("train")
    asked = [part.pair(row) for row in part.judgments]
    ours = TransformersScorer(student).score(asked)
    theirs = CrossEncoder(str(student.folder), device="cpu").predict(
        student.prompt.segments(asked), apply_softmax=True, show_progress_bar=False
    )
    assert np.allclose(theirs, ours.probabilities, atol=1e-4)
    taught = TransformersScorer(Checkpoint.open(tiny_checkpoint)).score(asked)
    assert np.abs(ours.mean - taught.mean).mean() < 0.1

    # What one run has asked, another need not ask again.
    read.clear()
    again = train_distil(changed(max_steps=1, save_strategy="no"), plan, unjudged, tmp_path / "again")
    assert (read, again.card.provenance.teaching.pairs) == ([], pairs)


def test_a_run_that_was_killed_twice_ends_where_an_undisturbed_one_does(
    tiny_data, tiny_checkpoint, tiny_shop, tmp_path, monkeypatch, read
):
    """Once while the teacher reads, once after the student's first state; no pair is read twice."""
    monkeypatch.setattr(teachers, "_FIRST_PART", 48)
    monkeypatch.setattr(teachers, "_LARGEST_PART", 48)
    plan, recipe = TeachingPlan(str(tiny_checkpoint)), changed(label_weight=0.5)
    undisturbed = train_distil(recipe, plan, tiny_data, tmp_path / "undisturbed")
    pairs = len(tiny_shop.of("train").judgments)
    assert undisturbed.card.provenance.teaching.judged == pairs
    parts = read.copy()
    assert (sum(parts), len(parts) > 2) == (pairs, True)
    read.clear()

    add, save = TeacherCache.add, EncoderTrainer._save_checkpoint

    def add_and_stop(cache: TeacherCache, keys, rows) -> None:
        add(cache, keys, rows)
        raise InterruptedError

    def save_and_stop(trainer, *args) -> None:
        save(trainer, *args)
        raise InterruptedError

    monkeypatch.setattr(TeacherCache, "add", add_and_stop)
    with pytest.raises(InterruptedError):
        train_distil(recipe, plan, tiny_data, tmp_path / "out")
    monkeypatch.setattr(TeacherCache, "add", add)
    monkeypatch.setattr(EncoderTrainer, "_save_checkpoint", save_and_stop)
    with pytest.raises(InterruptedError):
        train_distil(recipe, plan, tiny_data, tmp_path / "out", resume=True)
    monkeypatch.setattr(EncoderTrainer, "_save_checkpoint", save)
    assert read == parts
    with pytest.raises(BadInput, match="was begun with another recipe; start again"):
        train_distil(changed(label_weight=0.25), plan, tiny_data, tmp_path / "out", resume=True)
    resumed = train_distil(recipe, plan, tiny_data, tmp_path / "out", resume=True)
    assert read == parts
    wanted, found = (load_file(one.folder / "model.safetensors") for one in (undisturbed, resumed))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_bi_encoder_teaches_its_ranking(tiny_data, tiny_shop, tiny_bi_encoder, tmp_path):
    recipe = changed(max_steps=6, save_strategy="no", relative_weight=10.0)
    text = tmp_path / "said.txt"
    with text.open("w") as file:
        console = Console(file=file, width=200)
        student = train_distil(recipe, TeachingPlan(tiny_bi_encoder), tiny_data, tmp_path / "out", console=console)
    said = text.read_text()
    assert "texts; 0 were read before" in said
    assert f"pairs to learn: {len(tiny_shop.of('train').judgments)} of {tiny_data}" in said
    assert student.card.provenance.teaching.how == "isotonic regression on labels"
    run = TrainingRun.load(student.folder / "training.json")
    assert run.after.queries == 4
    assert [round(row["loss"], 1) for row in run.history if "loss" in row][-1] < 2.0


def test_who_teaches_himself_is_refused(trained_encoder, tiny_data, tmp_path):
    recipe = RECIPE.with_base(str(trained_encoder))
    with pytest.raises(BadInput, match="is both the teacher and the base"):
        train_distil(recipe, TeachingPlan(str(trained_encoder)), tiny_data, tmp_path / "out")
    assert not (tmp_path / "out.training").exists()


@pytest.fixture
def trained_encoder(tiny_data: Path, tiny_bi_encoder: str, tmp_path: Path) -> Path:
    recipe = changed(max_steps=1, save_strategy="no")
    return train_distil(recipe, TeachingPlan(tiny_bi_encoder), tiny_data, tmp_path / "encoder").folder


def test_there_is_no_teacher_of_this_name(tiny_data, tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        train_distil(RECIPE, TeachingPlan(str(tmp_path / "none")), tiny_data, tmp_path / "out")


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(weight, tmp_path):
    with pytest.raises(BadInput, match=r"label_weight: .* is out of range; it must be at least 0 and at most 1"):
        trainer_config(DistilConfig, {"label_weight": weight}, tmp_path, use_cpu=True)


def test_the_stages_have_sections_of_their_own(tmp_path):
    recipe = EncoderRecipe.load("minilm")
    config = trainer_config(DistilConfig, recipe.distil, tmp_path, use_cpu=True)
    assert {key: getattr(config, key) for key in recipe.distil} == recipe.distil
    with pytest.raises(BadInput, match="unknown key 'label_weigth'; did you mean 'label_weight'"):
        trainer_config(DistilConfig, {"label_weigth": 0.5}, tmp_path, use_cpu=True)
