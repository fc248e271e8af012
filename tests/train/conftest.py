"""A checkpoint of phase 1, trained once for all tests of training, and two finished runs as their figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gen_rerank import Dataset, Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.evaluation.evaluation import Evaluation, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.intervals import Interval
from tests.conftest import COLOURS, THINGS
from train.data_check import check
from train.distributional import train_distributional
from train.noise import Disagreement, FittedNoise, Parameter
from train.readout_choice import ReadoutChoice
from train.targets import Noise, gaussian
from train.training_run import TrainingRun

from .tiny import RECIPE


@pytest.fixture(scope="session")
def phase1(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """120 steps on the tiny shop. Do not write into it."""
    return train_distributional(RECIPE, tiny_data, tmp_path_factory.mktemp("runs") / "phase1")


@pytest.fixture(scope="session")
def run(tiny_shop: Dataset) -> TrainingRun:
    """A run of phase 2 of which all is known."""
    validation = tiny_shop.of("validation")
    relevance = np.array([row.relevance for row in validation.judgments])
    rng = np.random.default_rng(0)

    def measured(name: str, noise: float) -> Evaluation:
        guess = np.clip(relevance + rng.normal(0, noise, len(relevance)), 0, 1)
        return evaluate(name, validation, Distribution(gaussian(guess)))

    history = [
        {"step": 10, "epoch": 0.5, "loss": 1.25, "learning_rate": 1e-3},
        {"step": 20, "epoch": 1.0, "loss": float("nan"), "learning_rate": 5e-4},
        {"step": 20, "epoch": 1.0, "eval_loss": 0.875, "eval_ndcg@5": 0.75, "eval_rps": np.float32(0.125)},
        {"step": 30, "epoch": 1.5, "loss": 0.5, "learning_rate": 1e-4},
        {"step": 40, "epoch": 2.0, "eval_loss": 0.625, "eval_ndcg@5": 0.8125, "eval_rps": 0.0625},
        {"step": 40, "epoch": 2.0, "train_runtime": 12.0, "train_loss": 0.7},
    ]
    noise = Noise(sigma_min=0.05, sigma_max=(0.11, 0.13, 0.09), delta=(0.07, 0.08, 0.06))
    names = ["sigma_min", *(f"{name} at {y}" for name in ("sigma_max", "delta") for y in (0.2, 0.5, 0.8))]
    values = [noise.sigma_min, *noise.sigma_max, *noise.delta]
    parameters = [
        Parameter(name=name, estimate=value, standard_error=0.004, published=0.1, from_labels=name != "delta at 0.8")
        for name, value in zip(names, values, strict=True)
    ]
    return TrainingRun(
        kind="scalar",
        name="sample-shop",
        base="owner/base-model",
        data=check(tiny_shop),
        fingerprint=tiny_shop.fingerprint,
        recipe={"base": "nano", "scalar": {"learning_rate": 0.001, "note": "ends at 20 steps"}},
        history=tuple(history),
        tokens=123_456,
        padding=0.034,
        pairs_per_second=231.4,
        seconds=212.3,
        noise=noise,
        fitted=FittedNoise(
            noise=noise, slip=0.02, parameters=tuple(parameters), grades=11, pairs=180, labels=540, log_likelihood=-9.0
        ),
        disagreement=(
            Disagreement(0.2, 84, 0.1, 0.01),
            Disagreement(0.5, 84, 0.125, 0.02),
            Disagreement(1.0, 12, 0.05, 0.0),
        ),
        before=measured("phase 1", 0.4),
        after=measured("phase 2", 0.1),
        choice=ReadoutChoice(
            12, 0.04, {"MSE": Interval(-0.02, -0.03, -0.01, 12), "RPS": Interval(-0.01, -0.02, 0.001, 12)}
        ),
        floors=(
            evaluate("random", validation, random_scores(validation)),
            evaluate("BM25", validation, bm25_scores(validation)),
        ),
    )


@pytest.fixture(scope="session")
def bare(tiny_shop: Dataset) -> TrainingRun:
    """A run of which nothing is known but its data: no validation, no log, no labels."""
    return TrainingRun("distributional", "bare", "new", check(tiny_shop.of("train")), "f00d", {})


@pytest.fixture(scope="session")
def tiny_bi_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sentence-transformers model's folder: each colour and each thing of the tiny shop has a direction."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = [*COLOURS, *THINGS, "[UNK]"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.eye(len(words), dtype=np.float32)
    weights[-1] = 0.1
    folder = tmp_path_factory.mktemp("bi-encoder")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return str(folder)
