"""A LoRA for one shop's catalog: learned on a frozen base, kept only if validation queries gain by it.

The base's prompt and readout stay; low-rank matrices on its linear layers and a temperature are the shop's own.
Training stops when the validation queries get no better, the best state is taken, and an adapter without gain is
refused. The trainer is phase 1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn
from transformers import EarlyStoppingCallback

from gen_rerank.calibration.temperature import fit_temperature
from gen_rerank.checkpoints.adapter import Adapter, AdapterBase, AdapterCard
from gen_rerank.checkpoints.card import Calibration, Card, Provenance
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, RPS, Evaluation, difference
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.rankable import can_rank
from train import defaults
from train.bases import open_base
from train.distributional import distributional_trainer
from train.epoch import Epoch
from train.estimate import recipe_plan, step_memory
from train.life import Lesson, Measured, Training, live, refuse_sharding, validation_report
from train.lora import Lora, with_lora
from train.noise import target_noise
from train.opened_run import OpenedRun
from train.progress import QUIET
from train.recipe import Recipe
from train.targets import targets_of
from train.trainers import DistributionalConfig, budget_sampler


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
    """Train a LoRA on a catalog's judgments and write it, calibrated, if the validation queries gain by it.

    Args:
        recipe: its `lora`, `quantize_base`, `augment` and `adapter` sections are read; the prompt is the base's.
        base: a checkpoint with the `bins` readout; it is not changed.
        catalog: a data set folder; a few hundred judgments in `train` and some queries in `validation` are enough to
            start.
        out: the adapter's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data, plan and result are shown.

    Raises:
        BadInput: bad data or recipe, a base that takes no adapter, no validation queries, no gain on them, a taken
            `out`.

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

    def check(self, run: OpenedRun) -> None:
        """Refuse data on which no gain can be shown."""
        if not run.validated:
            raise BadInput(
                f"{run.data}: no validation query has a judgment, so no gain can be shown; "
                "give some training queries (a fifth, say) the split 'validation'"
            )
        if not can_rank(run.validation):
            raise BadInput(
                f"{run.data}: no validation query can be ranked (two judgments that differ), so no gain can be shown; "
                "judge more products of some validation queries"
            )

    def base(self, run: OpenedRun, config: AdapterConfig) -> str | Path:
        """Return the base's folder."""
        return self.checkpoint.folder

    def prepare(self, run: OpenedRun, config: AdapterConfig, base: str | Path) -> Lesson:
        """Put a LoRA on the base, whose readout and temperature stay."""
        recipe = self.recipe
        assert recipe.lora is not None
        model, tokenizer = open_base(recipe, base, [])
        noise, fitted = target_noise(config.variance, run.train)
        trainer = distributional_trainer(
            with_lora(model, recipe.lora, seed=config.seed),
            tokenizer,
            self.checkpoint.prompt,
            run,
            config,
            noise,
            recipe.augment,
            token_ids=list(self.checkpoint.card.readout.token_ids),
            temperature=self.checkpoint.card.calibration.temperature,
            callbacks=[EarlyStoppingCallback(config.patience)],
        )
        refuse_sharding(trainer, "FSDP trains all weights")
        plan = recipe_plan(recipe.model_copy(update={"distributional": recipe.adapter}))
        pairs = len(run.train.judgments) * recipe.augment.copies
        sampler, memory = budget_sampler(trainer.train_dataset, config), step_memory(model.config, plan).total
        epoch = Epoch.of(sampler, pairs, config, model.config, plan, memory)
        return Lesson(trainer, self.checkpoint.prompt, noise, fitted, epoch)

    def start_logits(self, run: OpenedRun, lesson: Lesson) -> Tensor | None:
        """Return what the base says."""
        logits: Tensor = lesson.trainer.validation_logits()[0]
        return logits

    def measure(self, run: OpenedRun, lesson: Lesson, start: Tensor | None) -> Measured:
        """Give the adapter a temperature of its own, and refuse it where validation shows no gain."""
        assert start is not None
        validation = run.validation
        wanted = targets_of(validation.judgments, lesson.trainer.args.variance, lesson.noise)
        logits = lesson.trainer.validation_logits()[0]
        sharpness = fit_temperature(logits, wanted)
        after = validation_report(run.out.name, validation, logits / sharpness)
        # What a temperature alone would give the base is no merit of the adapter's.
        rival = validation_report("base", validation, start / fit_temperature(start, wanted))
        gains = difference(after, rival)
        return Measured(
            before=validation_report("base", validation, start),
            after=after,
            temperature=self.checkpoint.card.calibration.temperature * sharpness,
            refusal=None if is_gain(gains) else no_gain(gains, after),
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


def is_gain(gains: Mapping[str, Interval]) -> bool:
    """Return whether validation shows one: the ranking or the distributions better beyond chance, and neither worse.

    Args:
        gains: after − before with 95% intervals, by measure, the headline and RPS among them; RPS is better when lower.
    """
    ranking = gains[HEADLINE]
    better = ranking.low > 0 or gains[RPS].high < 0
    worse = ranking.high < 0 or gains[RPS].low > 0
    return better and not worse


def no_gain(gains: Mapping[str, Interval], after: Evaluation) -> str:
    """Return the sentence that refuses an adapter."""
    shown = ", ".join(
        f"{name} {gains[name].mean:+.4f} [{gains[name].low:+.4f}, {gains[name].high:+.4f}]" for name in (HEADLINE, RPS)
    )
    return (
        f"no adapter was written: the {after.queries} validation queries show no gain over the base with a temperature "
        f"of its own ({shown}; RPS is better when lower); use the base as it is, or bring more judgments"
    )
