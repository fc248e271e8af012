"""A LoRA for one shop's catalog: learned on a frozen base, kept only if validation queries gain by it.

The base's prompt and readout stay; low-rank matrices on its linear layers and a temperature are the shop's own. Training stops when the
validation queries get no better, the best state is taken, and an adapter without gain is refused. The trainer is phase 1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from rich.console import Console
from scipy.optimize import minimize_scalar
from torch import Tensor
from transformers import EarlyStoppingCallback

from gen_rerank.checkpoints.adapter import Adapter, AdapterBase, AdapterCard
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import RPS, Evaluation, difference
from gen_rerank.evaluation.metrics import Interval
from train.bases import open_base
from train.estimate import recipe_plan
from train.life import (
    QUIET,
    Epoch,
    Run,
    announce_epoch,
    announce_result,
    provenance,
    publishing,
    refuse_sharding,
    training_run,
    validation_report,
)
from train.lora import Lora, with_lora
from train.phases import distributional_trainer, phase1_defaults, target_noise
from train.recipe import Recipe, trainer_config
from train.report import TrainingRun, write_model_card, write_training_report
from train.saved_states import remove
from train.targets import targets_of
from train.trainers import DistributionalConfig, budget_sampler, distribution_loss

RANKING = "nDCG@5"


@dataclass
class AdapterConfig(DistributionalConfig):
    """Arguments of an adapter: all of phase 1's, and these.

    Attributes:
        patience: how many measurements on validation may pass without a better one before training stops.
    """

    patience: int = field(default=3, metadata={"help": "measurements without a better one before it stops"})


def train_adapter(
    recipe: Recipe,
    base: str | Path,
    catalog: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    skip_bad_rows: bool = False,
    console: Console = QUIET,
) -> Adapter:
    """Train a LoRA on a catalog's judgments and write it, with its own calibration, if the validation queries gain by it.

    Args:
        recipe: its `lora`, `quantize_base`, `augment` and `adapter` sections are read; the prompt is the base's.
        base: a checkpoint with the `bins` readout; it is not changed.
        catalog: a data set folder; a few hundred judgments in `train` and some queries in `validation` are enough to start.
        out: the adapter's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data, plan and result are shown.

    Raises:
        BadInput: bad data or recipe, a base that takes no adapter, no validation queries, no gain on them, a taken `out`.

    Example:
        >>> train_adapter(Recipe.load("adapter"), "runs/model", "my-shop", "runs/my-shop")  # doctest: +SKIP
    """
    checkpoint = Checkpoint.open(base)
    if checkpoint.card.readout.kind != "bins":
        raise BadInput(
            f"{base}: an adapter needs a base with the readout 'bins', this one has {checkpoint.card.readout.kind!r}"
        )
    if "prompt" in recipe.model_fields_set:
        raise BadInput("the recipe has a prompt section, but an adapter uses its base's prompt; remove the section")
    run = Run.open(catalog, out, console, skip_bad_rows=skip_bad_rows)
    train, validation = run.train, run.validation
    if not validation.judgments:
        raise BadInput(
            f"{catalog}: no validation query has a judgment, so no gain can be shown; give some training queries (a fifth, say) the split 'validation'"
        )
    recipe = recipe.model_copy(update={"lora": recipe.lora or Lora()})
    assert recipe.lora is not None
    width = int(checkpoint.config["hidden_size"])
    config = trainer_config(AdapterConfig, recipe.adapter, run.folder, **adapter_defaults(recipe.lora, width))
    given = recipe.model_dump(mode="json", include={"lora", "quantize_base", "augment", "adapter"}, exclude_none=True)
    with config.main_process_first(desc="the run's folder"):
        state = run.begin({"recipe": given, "base": checkpoint.fingerprint}, resume=resume)
    model, tokenizer = open_base(recipe, checkpoint.folder, [])
    noise, fitted = target_noise(config.variance, train)
    trainer = distributional_trainer(
        with_lora(model, recipe.lora, seed=config.seed),
        tokenizer,
        checkpoint.prompt,
        run,
        config,
        noise,
        recipe.augment,
        token_ids=list(checkpoint.card.readout.token_ids),
        temperature=checkpoint.card.calibration.temperature,
        callbacks=[EarlyStoppingCallback(config.patience)],
    )
    pairs = len(train.judgments) * recipe.augment.copies
    epoch = Epoch.of(budget_sampler(trainer.train_dataset, config), pairs, config.max_steps, config.num_train_epochs)
    refuse_sharding(trainer, "FSDP trains all weights")
    announce_epoch(console, epoch, model, recipe_plan(recipe.model_copy(update={"distributional": recipe.adapter})))
    base_logits = trainer.validation_logits()[0]
    trainer.train(resume_from_checkpoint=None if state is None else str(state))
    logits = trainer.validation_logits()[0]
    wanted = torch.tensor(targets_of(validation.judgments, config.variance, noise))
    sharpness = fit_temperature(logits, wanted)
    after = validation_report(run.out.name, validation, logits / sharpness)
    before = validation_report("base", validation, base_logits)
    # What a temperature alone would give the base is no merit of the adapter's.
    rival = validation_report("base", validation, base_logits / fit_temperature(base_logits, wanted))
    gains = difference(after, rival)
    report = training_run(
        "adapter", run, str(base), given, trainer,
        before=before, after=after, epoch=epoch, noise=noise, fitted=fitted, resumed=state is not None,
    )  # fmt: skip
    announce_result(console, report)
    if not is_gain(gains):
        raise BadInput(no_gain(gains, after, run.folder))
    card = AdapterCard(
        base=AdapterBase(name=str(base), fingerprint=checkpoint.fingerprint),
        calibration=Calibration(temperature=checkpoint.card.calibration.temperature * sharpness),
        provenance=provenance(str(base), run.dataset, given, trainer, fitted),
    )
    processes = PartialState()
    if processes.is_main_process:
        _write(trainer, card, checkpoint, run.out, report)
        remove(run.folder)
    processes.wait_for_everyone()
    return Adapter.open(run.out, checkpoint)


def adapter_defaults(lora: Lora, width: int) -> dict[str, Any]:
    """Return what an adapter gets unless the recipe says otherwise.

    The learning rate falls with the base's width, 2e-4 at 1024 and more for a smaller base, as Adam's best one does (Yang et
    al. 2022, "Tensor Programs V", arXiv 2203.03466). It stays constant, because how long training lasts is for validation to say.
    """
    return {
        **phase1_defaults(lora, True),
        "learning_rate": 0.2 / width,
        "lr_scheduler_type": "constant_with_warmup",
        "num_train_epochs": 20,
        "batch_tokens": 2048,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_rps",
        "greater_is_better": False,
        "save_total_limit": 2,
        "restore_callback_states_from_checkpoint": True,  # how long patience has lasted, when a run is resumed
    }


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Return the temperature by which logits `[n, 11]` must be divided to come closest, in KL, to targets `[n, 11]`.

    One number, a convex problem in its inverse: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0] + [-30.0] * 9])
        >>> round(fit_temperature(logits, (logits / 2.0).softmax(dim=-1)), 2)
        2.0
    """
    nothing = torch.zeros(len(logits))

    def loss(log_temperature: float) -> float:
        return float(distribution_loss(logits / np.exp(log_temperature), targets, nothing))

    found = minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded")
    return float(np.exp(found.x))


def is_gain(gains: Mapping[str, Interval]) -> bool:
    """Return whether validation shows one: the ranking or the distributions better beyond chance, and neither worse.

    Args:
        gains: after − before with 95% intervals, by measure; RPS is better when lower.
    """
    # A measure that no query defines (no relevant product anywhere) shows nothing.
    ranking = gains.get(RANKING, Interval(0.0, 0.0, 0.0))
    better = ranking.low > 0 or gains[RPS].high < 0
    worse = ranking.high < 0 or gains[RPS].low > 0
    return better and not worse


def no_gain(gains: Mapping[str, Interval], after: Evaluation, run: Path) -> str:
    """Return the sentence that refuses an adapter."""
    shown = ", ".join(f"{name} {gains[name].mean:+.4f} [{gains[name].low:+.4f}, {gains[name].high:+.4f}]" for name in (RANKING, RPS) if name in gains)  # fmt: skip
    return (
        f"no adapter was written: the {after.queries} validation queries show no gain over the base with a temperature of its own ({shown}; RPS is better when lower); "
        f"use the base as it is, or bring more judgments (the trained states are in {run})"
    )


def _write(trainer: Any, card: AdapterCard, base: Checkpoint, out: Path, report: TrainingRun) -> None:
    with publishing(out) as folder:
        trainer.model.save_pretrained(folder)
        card.save(folder)
        write_training_report(folder, report)
        seen = base.card.model_copy(update={"calibration": card.calibration, "provenance": card.provenance})
        write_model_card(folder, report, seen)
