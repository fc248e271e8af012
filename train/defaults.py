"""What each kind of run gets unless its recipe says otherwise: one table of the trainers' arguments.

The rows that a kind adds stand under its name. Where no validation query is judged, nothing is measured on the way
(`opened_run`).
"""

from __future__ import annotations

from typing import Any

import torch

from gen_rerank.evaluation.evaluation import RPS
from gen_rerank.system.machine import Machine

Arguments = dict[str, Any]


def fast_dtype() -> torch.dtype:
    """Return the number type that a decoder is trained in here: bfloat16 where the machine multiplies it, or float32.

    Example:
        >>> fast_dtype() in (torch.bfloat16, torch.float32)
        True
    """
    return torch.bfloat16 if Machine.here().computes_bfloat16 else torch.float32


EVERY_RUN: Arguments = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": "none",
    "logging_steps": 0.02,
    "disable_tqdm": False,
    "include_num_input_tokens_seen": "no",
    "prediction_loss_only": True,
    "dataloader_pin_memory": torch.cuda.is_available(),
    "use_cpu": not torch.cuda.is_available(),
    "gradient_checkpointing": False,
    "ddp_find_unused_parameters": False,
    "bf16": False,
}

# Ten measurements, and two states of which the last one is whole at any time.
_MEASURED: Arguments = {"eval_strategy": "steps", "eval_steps": 0.1}
_SAVED: Arguments = {"save_strategy": "steps", "save_total_limit": 2}
_COSINE: Arguments = {"lr_scheduler_type": "cosine", "warmup_steps": 0.05}

DISTRIBUTIONAL: Arguments = {
    **EVERY_RUN, **_MEASURED, **_SAVED, **_COSINE,
    "bf16": fast_dtype() is torch.bfloat16,
    "learning_rate": 2e-5,
}  # fmt: skip

# A LoRA learns at a higher rate than all weights.
DISTRIBUTIONAL_LORA: Arguments = {**DISTRIBUTIONAL, "learning_rate": 2e-4}

SCALAR: Arguments = {**EVERY_RUN, **_MEASURED}

# Its learning rate follows the base's width, and stays constant, because how long it lasts is for the folds to say.
ADAPTER: Arguments = {
    **DISTRIBUTIONAL_LORA,
    "lr_scheduler_type": "constant_with_warmup",
    "num_train_epochs": 20,
    "batch_tokens": 2048,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "logging_strategy": "epoch",
    "metric_for_best_model": f"eval_{RPS.lower()}",
    "greater_is_better": False,
}

# Weights are float32 whatever `bf16` says; where the machine multiplies bfloat16, products are taken in it.
ENCODER: Arguments = {
    **EVERY_RUN, **_MEASURED, **_SAVED, **_COSINE,
    "bf16": fast_dtype() is torch.bfloat16,
    "learning_rate": 5e-5,
}  # fmt: skip

# Much of what a teacher has to say is which product comes before which.
DISTIL: Arguments = {**ENCODER, "relative_loss": "margin_mse"}


def adapter_defaults(width: int) -> Arguments:
    """Return what an adapter gets on a base of this width.

    The learning rate is 2e-4 at 1024 and more for a narrower base, as Adam's best one is (Yang et al. 2022, "Tensor
    Programs V", arXiv 2203.03466).

    Example:
        >>> adapter_defaults(1024)["learning_rate"]
        0.0001953125
    """
    return {**ADAPTER, "learning_rate": 0.2 / width}
