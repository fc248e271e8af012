"""A recipe that trains in seconds on the tiny shop, and how far a checkpoint's scores are from the grades."""

from __future__ import annotations

import numpy as np

from gen_rerank import Dataset
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from train.recipe import Recipe

RECIPE = Recipe.model_validate(
    {
        "shape": {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 2, "mlp": 128},
        "prompt": {"max_length": 96, "instruction": "Rate."},
        "distributional": {
            "muon_learning_rate": 0.01, "learning_rate": 2e-3, "row_tokens": 128, "batch_tokens": 512,
            "max_steps": 120, "save_steps": 60, "save_total_limit": 3, "logging_steps": 5, "bf16": False,
            "disable_tqdm": True,
        },
        "scalar": {
            "learning_rate": 2e-3, "per_device_train_batch_size": 64, "num_train_epochs": 20, "disable_tqdm": True,
        },
    }
)  # fmt: skip


def loss(checkpoint: Checkpoint, data: Dataset) -> float:
    """Return the mean squared error of the scores of all judged pairs."""
    scores = TransformersScorer(checkpoint).score([data.pair(row) for row in data.judgments]).mean
    return float(np.mean((scores - [row.relevance for row in data.judgments]) ** 2))
