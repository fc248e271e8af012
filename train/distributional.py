"""Phase 1: a decoder learns the distribution of relevance from graded judgments.

All pairs are rendered, tokenized and packed into rows; what is learned becomes a plain checkpoint. The trainer knows
the loss, `inputs` and `packing` the layout, `life` what surrounds every run, `gen_rerank` the prompt and the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from peft import PeftModel
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.checkpoints.card import Card, Provenance, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt
from train import defaults
from train.augment import Augment
from train.bases import find_base, lacks_bin_tokens, open_base
from train.epoch import Epoch
from train.estimate import recipe_plan, step_memory
from train.fake_quantization import add_fake_quantization
from train.inputs import rows_dataset, training_texts
from train.life import Lesson, Measured, Training, live, refuse_sharding, validation_report
from train.lora import merge_into_plain, with_lora
from train.nano import new_base
from train.noise import target_noise
from train.opened_run import OpenedRun
from train.packing import refuse_unpackable
from train.progress import QUIET
from train.recipe import Recipe
from train.targets import Noise, targets_of
from train.tiers import JudgedLogits
from train.trainers import BinTrainer, DistributionalConfig, DistributionalTrainer, add_bin_rows, budget_sampler
from train.warm_start import rows_between


def train_distributional(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    skip_bad_rows: bool = False,
    console: Console = QUIET,
) -> Checkpoint:
    """Run phase 1 and write a checkpoint with its documents.

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
        >>> train_distributional(Recipe.load("nano"), "shop", "runs/phase1")  # doctest: +SKIP
    """
    training = Distributional(recipe)
    return live(training, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)


@dataclass(frozen=True)
class Distributional(Training[Checkpoint]):
    """Phase 1 as a kind of run.

    Attributes:
        recipe: base, prompt and arguments.
    """

    kind = "distributional"
    config_class = DistributionalConfig

    recipe: Recipe

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of all weights, or of a LoRA."""
        return defaults.DISTRIBUTIONAL if self.recipe.lora is None else defaults.DISTRIBUTIONAL_LORA

    @property
    def base_name(self) -> str:
        """The recipe's base, or "new"."""
        return self.recipe.base or "new"

    @property
    def base_source(self) -> str | None:
        """Which package's file or which commit of the hub a short name or a GGUF file stands for."""
        return None if self.recipe.base is None else find_base(self.recipe.base).source

    @property
    def origin(self) -> dict[str, str]:
        """The base, where its name may stand for different weights."""
        source = self.base_source
        return {} if source is None else {"base": source}

    def base(self, run: OpenedRun, config: DistributionalConfig) -> str | Path:
        """Return the recipe's base, or a new one."""
        folder = run.folder / "base"
        if self.recipe.base is not None or folder.is_dir():
            return self.recipe.base or folder
        return new_base(training_texts(self.recipe.prompt, run.train), self.recipe.shape, folder, seed=config.seed)

    def prepare(self, run: OpenedRun, config: DistributionalConfig, base: str | Path) -> Lesson:
        """Open the base, with its eleven rows to be trained, and pack the pairs into rows."""
        recipe = self.recipe
        model, tokenizer = open_base(recipe, base, training_texts(recipe.prompt, run.train))
        refuse_unpackable(model, config.row_tokens)
        refuse_longer_than_context(model, recipe.prompt.max_length)
        prompt = Prompt(recipe.prompt, tokenizer.backend_tokenizer)
        token_ids = Readout.of(tokenizer.backend_tokenizer).token_ids
        noise, fitted = target_noise(config.variance, run.train)
        add_bin_rows(model, token_ids)
        if recipe.warm_start is not None and lacks_bin_tokens(base):
            # Those in the matrix may be rounded to bfloat16, which is coarser than what lies between two answers.
            model.bin_rows.weight.data = rows_between(model, tokenizer.backend_tokenizer, *recipe.warm_start)
        if recipe.fake_quantization is not None:
            add_fake_quantization(model, recipe.fake_quantization)
        trainer = distributional_trainer(
            model if recipe.lora is None else with_lora(model, recipe.lora, seed=config.seed, beside=("bin_rows",)),
            tokenizer,
            prompt,
            run,
            config,
            noise,
            recipe.augment,
            token_ids=list(token_ids),
        )
        plain = recipe.lora is None and recipe.weights == "float32" and recipe.fake_quantization is None
        if not plain or config.muon_learning_rate is not None:
            refuse_sharding(trainer, "FSDP trains all weights, in float32, as they are and by AdamW")
        pairs = len(run.train.judgments) * recipe.augment.copies
        sampler = budget_sampler(trainer.train_dataset, config)
        plan = recipe_plan(recipe)
        epoch = Epoch.of(sampler, pairs, config, model.config, plan, step_memory(model.config, plan).total)
        return Lesson(trainer, prompt, noise, fitted, epoch)

    def measure(self, run: OpenedRun, lesson: Lesson, start: Tensor | None) -> Measured:
        """Measure the model as it was trained; the checkpoint itself is not rounded yet."""
        if not run.validated:
            return Measured()
        lesson.trainer.evaluate()
        rounded = f" ({self.recipe.fake_quantization})" if self.recipe.fake_quantization else ""
        logits = lesson.trainer.validated
        after = validation_report(run.out.name + rounded, run.validation, logits)
        return Measured(after=after, said=JudgedLogits(run.validation, logits))

    def card(self, lesson: Lesson, measured: Measured, provenance: Provenance) -> Card:
        """Return a card with the bins readout."""
        readout = Readout.of(lesson.trainer.processing_class.backend_tokenizer)
        return Card(readout=readout, prompt=lesson.prompt.spec, provenance=provenance)

    def whole_model(self, lesson: Lesson) -> nn.Module:
        """Return the trained model; sharded weights are gathered."""
        return unsharded(lesson.trainer)

    def save(self, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        """Write a plain folder in bfloat16, as it will be served, so that every backend has the same weights."""
        plain_model(model).to(torch.bfloat16).save_pretrained(folder)
        lesson.trainer.processing_class.save_pretrained(folder)
        card.save(folder)

    def open(self, out: Path) -> Checkpoint:
        """Open the checkpoint."""
        return Checkpoint.open(out)


def distributional_trainer(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    prompt: Prompt,
    run: OpenedRun,
    config: DistributionalConfig,
    noise: Noise | None,
    augment: Augment,
    **more: Any,
) -> DistributionalTrainer:
    """Return phase 1's trainer over a run's data: training pairs varied, validation pairs as they are.

    Args:
        model: what is trained.
        tokenizer: the model's.
        prompt: how pairs become tokens.
        run: its `train` and `validation` are read.
        config: of the phase.
        noise: the width of the targets; None where `variance` needs none.
        augment: how training pairs are varied.
        more: for `DistributionalTrainer`: `token_ids`, and what has a default there.
    """

    def rows(part: Dataset, varied: Augment | None = None) -> Any:
        wanted = targets_of(part.judgments, config.variance, noise)
        return rows_dataset(
            prompt,
            part,
            wanted,
            row_tokens=config.row_tokens,
            whole_queries=config.whole_queries,
            augment=varied,
            seed=config.seed,
        )

    return DistributionalTrainer(
        model,
        config,
        validation=run.validation if run.validated else None,
        train_dataset=rows(run.train, augment),
        eval_dataset=rows(run.validation) if run.validated else None,
        processing_class=tokenizer,
        **more,
    )


def refuse_longer_than_context(model: PreTrainedModel, max_length: int) -> None:
    """Refuse prompts that a base does not read whole; no engine would open what was trained.

    Raises:
        BadInput: they may have more tokens than its context.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and max_length > context:
        raise BadInput(
            f"the recipe: prompt.max_length: {max_length} tokens, and the context of this base ends at {context}"
        )


def unsharded(trainer: BinTrainer) -> nn.Module:
    """Return the trained model with all its weights in this process.

    Sharded ones are gathered, which needs a call in every process.
    """
    if trainer.accelerator.distributed_type != DistributedType.FSDP:
        return trainer.model
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    whole: Any = type(trainer.model)(trainer.model.config)
    whole.bin_token_ids = trainer.model.bin_token_ids
    add_bin_rows(whole, whole.bin_token_ids)
    whole.load_state_dict(weights, strict=False)  # a tied output matrix is not listed twice
    return whole


def plain_model(model: Any) -> PreTrainedModel:
    """Return a trained model as one of ordinary modules: LoRA merged, the eleven rows in the output matrix."""
    model = merge_into_plain(model) if isinstance(model, PeftModel) else model
    if "bin_rows" in model._modules:
        with torch.no_grad():
            matrix = model.get_output_embeddings().weight
            matrix[model.bin_token_ids] = model.bin_rows.weight.to(matrix.dtype)
        del model.bin_rows
    return model
