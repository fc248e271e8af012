"""Encoder baselines: a cross-encoder with an eleven-way head, trained on the same targets as the decoders.

Pairs become token ids in `gen_rerank.prompting.prompt`, as everywhere. `encoder_base` makes what training starts from, `encoder_trainer` is the
trainer, through sentence-transformers; here are the recipe and the life of a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import datasets
import numpy as np
from accelerate import PartialState
from pydantic import Field
from rich.console import Console
from sentence_transformers.cross_encoder import CrossEncoder

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.records import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from train import saved_states as states
from train.augment import Augment, augmented
from train.encoder_bases import EncoderShape, load_encoder, new_encoder
from train.encoder_trainer import BinEvaluator, BinLoss, EncoderConfig, EncoderTrainer, PairCollator, budget_sampler
from train.estimate import Plan
from train.inputs import training_texts
from train.life import (
    DEFAULTS,
    QUIET,
    Epoch,
    Run,
    announce_epoch,
    provenance,
    publishing,
    refuse_sharding,
    training_run,
    validation_report,
)
from train.phases import target_noise
from train.recipe import RecipeFile, trainer_config
from train.report import TrainingRun, write_model_card, write_training_report
from train.targets import targets_of

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
    run = Run.open(data, out, console, skip_bad_rows=skip_bad_rows)
    train, validation = run.train, run.validation
    config = trainer_config(EncoderConfig, recipe.encoder, run.folder, **_defaults(bool(validation.judgments)))
    run.refuse_measuring_nothing(config)
    given = recipe.model_dump(mode="json", exclude_none=True)
    with config.main_process_first(desc="the run's folder"):
        state = run.begin({"recipe": given}, resume=resume)
        base = _base_folder(recipe, train, run.folder, config.seed)
    model = CrossEncoder(str(base), local_files_only=True)
    _check_patterns(model, config)
    prompt = Prompt(recipe.prompt, read_tokenizer(base))
    noise, fitted = target_noise(config.variance, train)
    collate = PairCollator(model.preprocess, pad_id=model.tokenizer.pad_token_id)
    evaluator = None
    if validation.judgments:
        rows = pairs_dataset(prompt, validation, targets_of(validation.judgments, config.variance, noise))
        evaluator = BinEvaluator(validation, rows, collate, config)
    trainer = EncoderTrainer(
        model,
        config,
        train_dataset=pairs_dataset(
            prompt, train, targets_of(train.judgments, config.variance, noise), augment=recipe.augment, seed=config.seed
        ),
        loss=BinLoss(model, config.mse_weight),
        data_collator=collate,
        evaluator=evaluator,
    )
    sampler = budget_sampler(trainer.train_dataset, config)
    epoch = Epoch.of(sampler, len(trainer.train_dataset), config.max_steps, config.num_train_epochs)
    plan = Plan(width=epoch.tokens // epoch.pairs, checkpointing=config.gradient_checkpointing)
    refuse_sharding(trainer, "FSDP is for decoders")
    announce_epoch(console, epoch, model.model, plan)
    trainer.train(resume_from_checkpoint=None if state is None else str(state))
    after = None
    if evaluator is not None:
        trainer.evaluate()
        after = validation_report(run.out.name, validation, evaluator.logits(model)[0])
    name = recipe.base or "new"
    card = Card(
        readout=Readout.classifier(),
        prompt=prompt.spec,
        provenance=provenance(name, run.dataset, given, trainer, fitted),
    )
    report = training_run(
        "encoder", run, name, given, trainer,
        after=after, epoch=epoch, noise=noise, fitted=fitted, resumed=state is not None,
    )  # fmt: skip
    processes = PartialState()
    if processes.is_main_process:
        _write(model, card, run.out, report)
        states.remove(run.folder)
    processes.wait_for_everyone()
    return Checkpoint.open(run.out)


def pairs_dataset(
    prompt: Prompt, dataset: Dataset, targets: Floats, *, augment: Augment | None = None, seed: int = 0
) -> datasets.Dataset:
    """Return judged pairs as `input_ids`, with `relevance` and, as `label`, their targets.

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
            "label": np.tile(targets, (settings.copies, 1)),
        },
        features=datasets.Features(
            input_ids=datasets.List(datasets.Value("int32")),
            relevance=datasets.Value("float32"),
            label=datasets.List(datasets.Value("float32")),
        ),
    )


def _defaults(validated: bool) -> dict[str, Any]:
    """Return what the trainer gets unless the recipe says otherwise; weights are float32 whatever `bf16` says."""
    return {
        **DEFAULTS,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "eval_strategy": "steps" if validated else "no",
        "eval_steps": 0.1,
    }


def _base_folder(recipe: EncoderRecipe, train: Dataset, run: Path, seed: int) -> Path:
    """Return the encoder to start from in the run's own folder; a resumed run finds the one that it began with."""
    folder = run / "base"
    if folder.is_dir():
        return folder
    length = recipe.prompt.max_length
    if recipe.base is None:
        return new_encoder(training_texts(recipe.prompt, train), recipe.shape, folder, max_length=length, seed=seed)
    return load_encoder(recipe.base, folder, max_length=length, seed=seed)


def _check_patterns(model: CrossEncoder, config: EncoderConfig) -> None:
    """Refuse a pattern without parameters before training; the library does so in the midst of it."""
    names = [f"model.{name}" for name, _ in model.named_parameters()]
    for pattern in config.learning_rate_mapping:
        if not any(re.search(pattern, name) for name in names):
            raise BadInput(f"the recipe's learning_rate_mapping: no parameter of this encoder matches {pattern!r}")


def _write(model: CrossEncoder, card: Card, out: Path, report: TrainingRun) -> None:
    """Write a plain folder in float32, in which the other libraries compute what they load: scores are equal everywhere."""
    with publishing(out) as folder:
        model.save_pretrained(str(folder), create_model_card=False)
        card.save(folder)
        write_training_report(folder, report)
        write_model_card(folder, report, card)
