"""A LoRA for one shop's catalog: learned on a frozen base, kept only if queries that it had not seen gain by it.

The base's prompt and readout stay; low-rank matrices on its linear layers and a temperature are the shop's own. How
long it is trained, how strongly it is applied, its temperature, and whether it is written at all, is decided on the
training and validation queries together, each held out once (`cross_fitting`, `acceptance`). The trainer is phase 1's.
"""

from __future__ import annotations

import gc
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed
from transformers.trainer_utils import SaveStrategy

from gen_rerank.checkpoints.adapter import Adapter, AdapterBase, AdapterCard
from gen_rerank.checkpoints.card import Calibration, Card, Provenance
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.folds import deal
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, Evaluation
from gen_rerank.evaluation.rankable import deciding_queries
from gen_rerank.evaluation.verdicts import too_few_queries
from gen_rerank.reporting.numbers import counted
from train import defaults
from train.acceptance import Acceptance, strongest
from train.bases import open_base
from train.cross_fitting import AdapterPlan, HeldOutLogits, OutOfFold, StopAfter, cross_fit, weaken
from train.distributional import distributional_trainer
from train.epoch import Epoch
from train.estimate import recipe_plan, step_memory
from train.life import Lesson, Measured, Training, live, refuse_sharding, validation_report
from train.lora import Lora, with_lora
from train.noise import target_noise
from train.opened_run import OpenedRun
from train.progress import QUIET
from train.recipe import Recipe
from train.targets import Noise, targets_of
from train.tiers import JudgedLogits
from train.trainers import DistributionalConfig, DistributionalTrainer, budget_sampler

# What the folds decide is not for the recipe to say.
FOLDS_SAID = (
    "trainings on all queries but those of one fold said it, and chose how long and how strongly the adapter learns; "
    "the adapter itself knows all of these queries"
)
_DECIDED = ("load_best_model_at_end", "metric_for_best_model", "greater_is_better")


@dataclass
class AdapterConfig(DistributionalConfig):
    """Arguments of an adapter: all of phase 1's, and these.

    Attributes:
        folds: in how many parts the judged queries are held out, one after the other; fewer where there are fewer
            queries.
        patience: how many measurements of a fold may pass without a better one before its training stops.
        ranking_margin: the loss in nDCG@5 that the held-out queries must exclude; a share of 1.
    """

    folds: int = field(default=5, metadata={"help": "parts in which queries are held out"})
    patience: int = field(default=3, metadata={"help": "measurements without a better one before a fold stops"})
    ranking_margin: float = field(default=0.01, metadata={"help": "the loss in nDCG@5 that must be excluded"})


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What is known, and decided, before the adapter itself is trained.

    Attributes:
        before: the base on the judged queries, as it is.
        choice: how the adapter is trained and written.
        curve: the headline measure and RPS of the held-out queries after each measurement, at the chosen strength.
        acceptance: what they say for the adapter.
        said: what the folds say of the queries that each held out, trained and applied as the adapter will be.
    """

    before: Evaluation
    choice: AdapterPlan
    curve: list[dict[str, float]]
    acceptance: Acceptance
    said: JudgedLogits


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
    """Train a LoRA on a catalog's judgments and write it, calibrated, if queries that were held out gain by it.

    Args:
        recipe: its `lora`, `quantize_base`, `augment` and `adapter` sections are read; the prompt is the base's.
        base: a checkpoint with the `bins` readout; it is not changed.
        catalog: a data set folder; a few hundred judgments in `train`, or in `train` and `validation`, are enough to
            start. Both are learned from.
        out: the adapter's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data, plan and result are shown.

    Raises:
        BadInput: bad data or recipe, a base that takes no adapter, too few queries to judge by, no gain on them, a
            ranking that may be worse, a taken `out`.

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
    for name in _DECIDED:
        if name in recipe.adapter:
            raise BadInput(f"the recipe: {name} has no use here: an adapter's folds choose its epoch by RPS; remove it")
    training = CatalogAdapter(recipe.model_copy(update={"lora": recipe.lora or Lora()}), checkpoint, str(base))
    return live(training, catalog, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)


@dataclass(frozen=True)
class CatalogAdapter(Training[Adapter]):
    """An adapter as a kind of run.

    Attributes:
        recipe: with a `lora`; its `quantize_base`, `augment` and `adapter` sections are read too.
        checkpoint: the base, with the bins readout.
        called: the base's name, for people.
    """

    kind = "adapter"
    config_class = AdapterConfig

    recipe: Recipe
    checkpoint: Checkpoint
    called: str

    @property
    def given(self) -> dict[str, Any]:
        """The sections that are read."""
        sections = {"lora", "quantize_base", "augment", "adapter"}
        return self.recipe.model_dump(mode="json", include=sections, exclude_none=True)

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of an adapter on a base of this width."""
        return defaults.adapter_defaults(int(self.checkpoint.config["hidden_size"]))

    @property
    def base_name(self) -> str:
        """The base, as it was given."""
        return self.called

    @property
    def origin(self) -> dict[str, str]:
        """The base."""
        return {"base": self.checkpoint.fingerprint}

    def opened(self, data: str | Path, out: str | Path, console: Console, *, skip_bad_rows: bool) -> OpenedRun:
        """Read the data, training and validation queries together: they are learned from, and measured."""
        run = super().opened(data, out, console, skip_bad_rows=skip_bad_rows)
        queries = {**run.train.queries, **run.validation.queries}
        rows = tuple(row for row in run.dataset.judgments if row.query_id in queries)
        judged = Dataset(run.dataset.products, queries, rows, run.dataset.bad_rows)
        return replace(run, train=judged, validation=judged)

    def check(self, run: OpenedRun) -> None:
        """Refuse data on which no gain can be shown."""
        few = too_few_queries(HEADLINE, deciding_queries(run.validation)[HEADLINE])
        if few:
            raise BadInput(
                f"{run.data}: {few} (two judgments that differ, splits train and validation); judge more products of "
                "more queries"
            )

    def base(self, run: OpenedRun, config: AdapterConfig) -> str | Path:
        """Return the base's folder."""
        return self.checkpoint.folder

    def prepare(self, run: OpenedRun, config: AdapterConfig, base: str | Path) -> Lesson:
        """Put a LoRA on the base, whose readout and temperature stay."""
        if config.eval_strategy == "no":
            raise BadInput("the recipe: eval_strategy: the folds of an adapter are measured; give epoch, or steps")
        noise, fitted = target_noise(config.variance, run.train)
        trainer = self._trainer(run, config, noise)
        refuse_sharding(trainer, "FSDP trains all weights")
        plan = recipe_plan(self.recipe.model_copy(update={"distributional": self.recipe.adapter}))
        pairs = len(run.train.judgments) * self.recipe.augment.copies
        shape, sampler = trainer.model.config, budget_sampler(trainer.train_dataset, config)
        epoch = Epoch.of(sampler, pairs, config, shape, plan, step_memory(shape, plan).total)
        folds = int(deal(run.train, config.folds, config.seed).max()) + 1
        # K folds read all but a Kth, and the adapter reads all: K times as much as one training.
        notice = (
            f"{folds + 1} trainings, of {folds} folds and of the adapter itself, read at most {folds} × "
            f"{epoch.epochs:.2f} epochs; a fold stops after {config.patience} measurements without a better one, and "
            "the adapter where the folds were best. A finished fold is kept for --resume"
        )
        every = replace(epoch, epochs=folds * epoch.epochs, steps=folds * epoch.steps)
        return Lesson(trainer, self.checkpoint.prompt, noise, fitted, every, notice)

    def start_logits(self, run: OpenedRun, lesson: Lesson) -> Rehearsal:
        """Train the folds and judge what they say; the adapter will be trained for as long as they choose.

        Raises:
            BadInput: they show no gain, or the ranking may be worse.
        """
        judged, config = run.validation, lesson.trainer.args
        of_fold = copy(config)  # new arguments would reset what the libraries know of the processes
        of_fold.save_strategy = SaveStrategy.NO  # a fold that is interrupted begins anew

        def train_fold(learned: Dataset, held: Dataset, most: int | None) -> Tensor:
            fold = replace(run, train=learned, validation=held)
            logits = self._held_out_logits(fold, copy(of_fold), lesson.noise, most)
            gc.collect()  # a trainer is a circle of references, and it holds a model
            return logits

        folds = deal(judged, config.folds, config.seed)
        wanted = targets_of(judged.judgments, config.variance, lesson.noise)
        base = lesson.trainer.validation_logits()[0]
        said = cross_fit(judged, folds, run.folder, train_fold)
        found = OutOfFold(judged, folds, base, said, wanted)
        strength, acceptance = strongest(found, run.out.name, config.ranking_margin)
        if acceptance.refusal is not None:
            raise BadInput(acceptance.refusal)
        choice = found.choice(strength)
        lesson.trainer.add_callback(StopAfter(choice.measurements))
        set_seed(config.seed)  # as if no fold had been trained before, or all of them
        # What a training says is divided by the base's temperature, as the adapter's own will be.
        logits = found.chosen(choice) * self.checkpoint.card.calibration.temperature
        held_out = JudgedLogits(judged, logits, "train and validation, each query held out once", FOLDS_SAID)
        return Rehearsal(validation_report("base", judged, base), choice, found.curve(strength), acceptance, held_out)

    def measure(self, run: OpenedRun, lesson: Lesson, start: Rehearsal) -> Measured:
        """Give the adapter the folds' figures and their temperature: no query is held out of its own training."""
        trainer, choice = lesson.trainer, start.choice
        weaken(trainer.model, choice.strength)
        unit = "epoch" if trainer.args.eval_strategy == "epoch" else "measurement"
        trainer.state.log_history += _logged(start.curve[: choice.measurements], trainer.state.global_step)
        return Measured(
            before=start.before,
            after=start.acceptance.after,
            temperature=self.checkpoint.card.calibration.temperature * choice.temperature,
            said=start.said,
            remarks=(
                f"The folds chose {counted(choice.measurements, unit)} and a strength of {choice.strength:g}.",
                *start.acceptance.remarks,
            ),
        )

    def card(self, lesson: Lesson, measured: Measured, provenance: Provenance) -> Card:
        """Return the base's card with the adapter's own calibration and provenance."""
        update = {"calibration": Calibration(temperature=measured.temperature), "provenance": provenance}
        return self.checkpoint.card.model_copy(update=update)

    def save(self, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        """Write the matrices and an adapter's card, which names the base."""
        matrices: Any = model
        matrices.save_pretrained(folder)
        base = AdapterBase(name=self.called, fingerprint=self.checkpoint.fingerprint)
        AdapterCard(base=base, calibration=card.calibration, provenance=card.provenance).save(folder)

    def open(self, out: Path) -> Adapter:
        """Open the adapter beside its base."""
        return Adapter.open(out, self.checkpoint)

    def _trainer(
        self, run: OpenedRun, config: AdapterConfig, noise: Noise | None, *callbacks: TrainerCallback
    ) -> DistributionalTrainer:
        """Return a trainer of a new LoRA, which begins the same every time, on the queries of a run."""
        assert self.recipe.lora is not None
        model, tokenizer = open_base(self.recipe, self.checkpoint.folder, [])
        return distributional_trainer(
            with_lora(model, self.recipe.lora, seed=config.seed),
            tokenizer,
            self.checkpoint.prompt,
            run,
            config,
            noise,
            self.recipe.augment,
            token_ids=list(self.checkpoint.card.readout.token_ids),
            temperature=self.checkpoint.card.calibration.temperature,
            callbacks=list(callbacks),
        )

    def _held_out_logits(self, fold: OpenedRun, config: AdapterConfig, noise: Noise | None, most: int | None) -> Tensor:
        """Return what a training on a fold's rest says of it, `[measurements, strengths, judgments, 11]`."""
        trainer = self._trainer(fold, config, noise, EarlyStoppingCallback(config.patience))
        said = HeldOutLogits(trainer, most)
        trainer.add_callback(said)
        trainer.train()
        return torch.stack(said.logits)


def _logged(curve: list[dict[str, float]], steps: int) -> list[dict[str, float]]:
    """Return rows for the trainer's log: what the folds measured, as far as the adapter was trained."""
    return [
        {"step": round(steps * place / len(curve)), **{f"eval_{name}": value for name, value in found.items()}}
        for place, found in enumerate(curve, start=1)
    ]
