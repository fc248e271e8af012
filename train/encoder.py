"""Encoder baselines: a cross-encoder with an eleven-way head, trained on the same targets as the decoders.

Pairs become token ids in `gen_rerank.prompting.prompt`, as everywhere. `encoder_bases` makes what training starts from,
`encoder_trainer` is the trainer, through sentence-transformers, `life` what surrounds every run; here are the recipe
and what this kind of run adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import datasets
import numpy as np
from pydantic import Field
from rich.console import Console
from sentence_transformers.cross_encoder import CrossEncoder
from torch import Tensor, nn

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.card import Card, Provenance, Readout, Teaching
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from train import defaults
from train.augment import Augment, augmented
from train.encoder_bases import EncoderShape, load_encoder, new_encoder
from train.encoder_trainer import BinEvaluator, BinLoss, EncoderConfig, EncoderTrainer, PairCollator, budget_sampler
from train.epoch import Epoch
from train.estimate import StepPlan
from train.inputs import query_numbers, training_texts
from train.life import Lesson, Measured, Training, live, refuse_sharding, validation_report
from train.noise import FittedNoise, target_noise
from train.opened_run import OpenedRun
from train.progress import QUIET
from train.recipe import RecipeFile
from train.targets import Noise, targets_of
from train.tiers import JudgedLogits
from train.training_run import Kind, TrainingRun

# On the command line, where a missing name means "as the recipe says".
NO_BASE = "none"


class EncoderPrompt(PromptSpec):
    """A prompt of an encoder: it has one layout, the pair (query, document)."""

    template: Literal["encoder"] = "encoder"


class EncoderRecipe(RecipeFile):
    """What the training of an encoder needs to know.

    Attributes:
        base: a folder, a hub name or `minilm`; None makes a new ModernBERT of `shape` from nothing.
        shape: of a new encoder.
        prompt: what the checkpoint will record.
        augment: how training pairs are varied; as they are by default. Validation is never varied.
        distil: arguments of the stage that learns from a teacher (`train.distil.DistilConfig`).
        encoder: arguments of the trainer (`EncoderConfig`).

    Example:
        >>> EncoderRecipe.load("micro").shape.hidden
        256
    """

    folder: ClassVar[str] = "recipes/encoders"
    sections: ClassVar[Mapping[str, Iterable[str]]] = {
        **RecipeFile.sections,
        "shape": [entry.name for entry in fields(EncoderShape)],
    }

    base: str | None = None
    shape: EncoderShape = EncoderShape()
    prompt: EncoderPrompt = EncoderPrompt()
    augment: Augment = Augment()
    distil: dict[str, Any] = Field(default_factory=dict)
    encoder: dict[str, Any] = Field(default_factory=dict)

    def with_base(self, name: str) -> Self:
        """Return the recipe with another base; the name `none` means a new encoder."""
        return self.model_copy(update={"base": None if name == NO_BASE else name})


def train_encoder(
    recipe: EncoderRecipe,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    skip_bad_rows: bool = False,
    console: Console = QUIET,
) -> Checkpoint:
    """Train a cross-encoder and write a checkpoint, which `sentence_transformers.CrossEncoder` opens too.

    Every process of `accelerate launch` calls this; the first one writes.

    Args:
        recipe: base, prompt and arguments.
        data: a data set folder; the `train` split is learned from, `validation` is only measured.
        out: the checkpoint's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data and plan are shown before the work.

    Raises:
        BadInput: bad data or recipe, no training pairs, `out` is taken, nothing to resume, or a full disk.

    Example:
        >>> train_encoder(EncoderRecipe.load("micro"), "shop", "runs/encoder")  # doctest: +SKIP
    """
    return live(Encoder(recipe), data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)


@dataclass(frozen=True, eq=False)
class EncoderLesson:
    """What an encoder is to learn.

    Attributes:
        pairs: its judgments, one at least, are the training pairs, with the relevance that is compared within a query.
        targets: their distributions, `[judgments, 11]` float32.
        noise: the σ(y) of targets that were made of labels; None where they have none.
        fitted: how it was estimated, where it was.
        teaching: who teaches, if anybody.
    """

    pairs: Dataset
    targets: Floats
    noise: Noise | None = None
    fitted: FittedNoise | None = None
    teaching: Teaching | None = None


@dataclass(frozen=True)
class Encoder(Training[Checkpoint]):
    """An encoder as a kind of run.

    Attributes:
        recipe: base, prompt and arguments.
    """

    kind: ClassVar[Kind] = "encoder"
    config_class: ClassVar[type[EncoderConfig]] = EncoderConfig

    recipe: EncoderRecipe

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of an encoder."""
        return defaults.ENCODER

    @property
    def base_name(self) -> str:
        """The recipe's base, or "new"."""
        return self.recipe.base or "new"

    def base(self, run: OpenedRun, config: EncoderConfig) -> str | Path:
        """Return the encoder to start from, with its head, in the run's own folder."""
        recipe, folder = self.recipe, run.folder / "base"
        if folder.is_dir():
            return folder
        length = recipe.prompt.max_length
        if recipe.base is None:
            texts = training_texts(recipe.prompt, self.read_by(run))
            return new_encoder(texts, recipe.shape, folder, max_length=length, seed=config.seed)
        return load_encoder(recipe.base, folder, max_length=length, seed=config.seed)

    def read_by(self, run: OpenedRun) -> Dataset:
        """Return the pairs that are trained on, as judgments."""
        return run.train

    def lesson(self, run: OpenedRun, config: EncoderConfig, prompt: Prompt) -> EncoderLesson:
        """Return what is to be learned of the training pairs."""
        noise, fitted = target_noise(config.variance, run.train)
        return EncoderLesson(run.train, targets_of(run.train.judgments, config.variance, noise), noise, fitted)

    def prepare(self, run: OpenedRun, config: EncoderConfig, base: str | Path) -> Lesson:
        """Open the encoder as sentence-transformers does, and tokenize the pairs."""
        model = CrossEncoder(str(base), local_files_only=True)
        _check_arguments(model, config)
        prompt = Prompt(self.recipe.prompt, read_tokenizer(Path(base)))
        taught = self.lesson(run, config, prompt)
        collate = PairCollator(model.preprocess, pad_id=model.tokenizer.pad_token_id)
        evaluator = None
        if run.validated:
            wanted = targets_of(run.validation.judgments, config.variance, taught.noise)
            rows = pairs_dataset(prompt, run.validation, wanted)
            evaluator = BinEvaluator(run.validation, rows, collate, config)
        trainer = EncoderTrainer(
            model,
            config,
            train_dataset=pairs_dataset(
                prompt, taught.pairs, taught.targets, augment=self.recipe.augment, seed=config.seed
            ),
            loss=BinLoss(model, config),
            data_collator=collate,
            evaluator=evaluator,
        )
        refuse_sharding(trainer, "FSDP is for decoders")
        sampler, pairs = budget_sampler(trainer.train_dataset, config), len(trainer.train_dataset)
        plan = StepPlan(width=sampler.tokens // pairs, checkpointing=config.gradient_checkpointing)
        epoch = Epoch.of(sampler, pairs, config, model.model.config, plan)
        return Lesson(trainer, prompt, taught.noise, taught.fitted, epoch, teaching=taught.teaching)

    def measure(self, run: OpenedRun, lesson: Lesson, start: Tensor | None) -> Measured:
        """Measure the encoder as it will be written."""
        trainer = lesson.trainer
        if not run.validated:
            return Measured()
        trainer.evaluate()
        logits = trainer.evaluator.logits(trainer.model)[0]
        after = validation_report(run.out.name, run.validation, logits)
        return Measured(after=after, said=JudgedLogits(run.validation, logits))

    def announce(self, console: Console, report: TrainingRun) -> None:
        """Show no table: a baseline is measured beside others, on test queries, by `gen-rerank evaluate`."""

    def card(self, lesson: Lesson, measured: Measured, provenance: Provenance) -> Card:
        """Return a card with the classifier readout."""
        return Card(readout=Readout.classifier(), prompt=lesson.prompt.spec, provenance=provenance)

    def save(self, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        """Write a plain folder in float32, in which other libraries compute what they load: scores are the same."""
        encoder: CrossEncoder = model
        encoder.save_pretrained(str(folder), create_model_card=False)
        card.save(folder)

    def open(self, out: Path) -> Checkpoint:
        """Open the checkpoint."""
        return Checkpoint.open(out)


def pairs_dataset(
    prompt: Prompt, dataset: Dataset, targets: Floats, *, augment: Augment | None = None, seed: int = 0
) -> datasets.Dataset:
    """Return judged pairs as `input_ids`, with `relevance`, the number of their `query` and, as `label`, their targets.

    Args:
        prompt: of the checkpoint that is trained.
        dataset: its judgments, one at least, are the pairs, in their order.
        targets: `[judgments, 11]`.
        augment: how pairs are varied; one varied copy follows the other.
        seed: of the first copy's variations.
    """
    settings = augment or Augment()
    pairs = [dataset.pair(row) for row in dataset.judgments]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [
                ids
                for copy in range(settings.copies)
                for ids in prompt.encode(augmented(pairs, settings, seed=seed + copy))
            ],
            "relevance": np.tile([row.relevance for row in dataset.judgments], settings.copies),
            "query": query_numbers(dataset, settings.copies).ravel(),
            "label": np.tile(targets, (settings.copies, 1)),
        },
        features=datasets.Features(
            input_ids=datasets.List(datasets.Value("int32")),
            relevance=datasets.Value("float32"),
            query=datasets.Value("int32"),
            label=datasets.List(datasets.Value("float32")),
        ),
    )


def _check_arguments(model: CrossEncoder, config: EncoderConfig) -> None:
    """Refuse before training what the library does in the midst of it: a pattern without parameters, noise."""
    if config.neftune_noise_alpha is not None:
        raise BadInput("the recipe's neftune_noise_alpha: encoders are trained without noise; remove it")
    names = [f"model.{name}" for name, _ in model.named_parameters()]
    for pattern in config.learning_rate_mapping:
        if not any(re.search(pattern, name) for name in names):
            raise BadInput(f"the recipe's learning_rate_mapping: no parameter of this encoder matches {pattern!r}")
