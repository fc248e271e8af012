"""The life of a training run: data in, checkpoint out, for each of the two phases.

`train_distributional` renders and tokenizes all pairs, packs them into rows, trains, and writes a checkpoint.
`train_scalar` opens that checkpoint, or a quantized copy of it, reads each pair's last hidden state once, trains the readout
on them and writes the same files again with another readout in them.
The trainers know the losses, `examples` and `packing` the layout, `run` what surrounds every run, `gen_rerank` the prompt and the files.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, PartialState
from peft import PeftModel
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.checkpoints.card import Calibration, Card, Provenance, Quantization, Readout, Realignment
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt
from train import saved_states as states
from train.augment import Augment
from train.bases import lacks_bin_tokens, open_base, open_checkpoint
from train.estimate import recipe_plan
from train.fake_quantization import add_fake_quantization
from train.inputs import features_dataset, rows_dataset, training_texts
from train.life import (
    DEFAULTS,
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
    write_checkpoint,
)
from train.lora import Lora, merge_into_plain, with_lora
from train.nano import new_base
from train.noise import FittedNoise, fit_noise
from train.packing import refuse_unpackable
from train.recipe import Recipe, trainer_config
from train.report import TrainingRun, write_model_card, write_training_report
from train.targets import Noise, Variance, targets_of
from train.trainers import (
    BinTrainer,
    DistributionalConfig,
    DistributionalTrainer,
    ScalarConfig,
    ScalarTrainer,
    add_bin_rows,
    budget_sampler,
)
from train.warm_start import rows_between

logger = logging.getLogger(__name__)


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
    run = Run.open(data, out, console, skip_bad_rows=skip_bad_rows)
    train, validation = run.train, run.validation
    config = trainer_config(
        DistributionalConfig,
        recipe.distributional,
        run.folder,
        **phase1_defaults(recipe.lora, bool(validation.judgments)),
    )
    run.refuse_measuring_nothing(config)
    given = recipe.model_dump(mode="json", exclude_none=True)
    texts = training_texts(recipe.prompt, train)
    with config.main_process_first(desc="the run's folder"):
        state = run.begin({"recipe": given}, resume=resume)
        base = recipe.base or str(_new_base(recipe, texts, run.folder, config.seed))
    model, tokenizer = open_base(recipe, base, texts)
    refuse_unpackable(model, config.row_tokens)
    prompt = Prompt(recipe.prompt, tokenizer.backend_tokenizer)
    readout = Readout.of(tokenizer.backend_tokenizer)
    noise, fitted = target_noise(config.variance, train)
    add_bin_rows(model, readout.token_ids)
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
        token_ids=list(readout.token_ids),
    )
    plain = recipe.lora is None and recipe.weights == "float32" and recipe.fake_quantization is None
    if not plain or config.muon_learning_rate is not None:
        refuse_sharding(trainer, "FSDP trains all weights, in float32, as they are and by AdamW")
    sampler = budget_sampler(trainer.train_dataset, config)
    pairs = len(train.judgments) * recipe.augment.copies
    epoch = Epoch.of(sampler, pairs, config.max_steps, config.num_train_epochs)
    announce_epoch(console, epoch, model, recipe_plan(recipe))
    trainer.train(resume_from_checkpoint=None if state is None else str(state))
    after = None
    if validation.judgments:
        trainer.evaluate()
        # Measured as it was trained; the checkpoint itself is not rounded yet.
        rounded = f" ({recipe.fake_quantization})" if recipe.fake_quantization else ""
        after = validation_report(run.out.name + rounded, validation, trainer.validated)
    name = recipe.base or "new"
    card = Card(readout=readout, prompt=prompt.spec, provenance=provenance(name, run.dataset, given, trainer, fitted))
    report = training_run(
        "distributional", run, name, given, trainer,
        after=after, epoch=epoch, noise=noise, fitted=fitted, resumed=state is not None,
    )  # fmt: skip
    announce_result(console, report)
    return _finish(trainer, tokenizer, card, run, report)


def train_scalar(
    recipe: Recipe,
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    skip_bad_rows: bool = False,
    console: Console = QUIET,
) -> Checkpoint:
    """Run phase 2 on a checkpoint and write another, whose files differ in the eleven rows, the card and the documents only.

    On a quantized checkpoint this aligns the readout again with what quantization has made of the backbone. Its features
    are those that the scorer computes: decoded weights, and activations that are rounded as the scheme says. The thresholds
    of a quantized checkpoint stay, because what is written is to take its parent's place on the same scale of scores; those of
    a plain one belong to other scores and are left out.

    Args:
        recipe: its `scalar` section and `augment` are read.
        model: a checkpoint of phase 1 or 2, plain or quantized.
        data: as in phase 1.
        out: the checkpoint's folder.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where the data and the result are shown.

    Raises:
        BadInput: as `train_distributional`, or `model` is not a checkpoint with the `bins` readout.

    Example:
        >>> train_scalar(Recipe.load("nano"), "runs/phase1", "shop", "runs/model")  # doctest: +SKIP
        >>> train_scalar(Recipe.load("nano"), "runs/model-mxfp4", "shop", "runs/model-mxfp4-realigned")  # doctest: +SKIP
    """
    checkpoint = _with_bins(model)
    run = Run.open(data, out, console, skip_bad_rows=skip_bad_rows)
    validation = run.validation
    measured = {"eval_strategy": "steps", "eval_steps": 0.1} if validation.judgments else {}
    config = trainer_config(ScalarConfig, recipe.scalar, run.folder, **{**DEFAULTS, **measured})
    run.refuse_measuring_nothing(config)
    if config.world_size > 1:
        raise BadInput(
            "phase 2 trains eleven rows on features that one process computes once; start it without accelerate launch"
        )
    given = recipe.model_dump(mode="json", exclude_none=True)
    state = run.begin({"recipe": given, "model": checkpoint.fingerprint}, resume=resume)
    # As the checkpoint is stored, where that is fast; the readout is float32 in any case.
    backbone, tokenizer = open_checkpoint(checkpoint, torch.float32 if config.use_cpu else torch.bfloat16)
    files = _matrix_files(checkpoint, backbone)
    token_ids = list(checkpoint.card.readout.token_ids)
    features: dict[str, Any] = {}
    for name, part, augment in (("train", run.train, recipe.augment), ("validation", validation, None)):
        features[name] = part.judgments and features_dataset(
            backbone.to(config.device), checkpoint.prompt, part, augment, seed=config.seed, cache=run.folder / name
        )
    trainer = ScalarTrainer(
        backbone,
        config,
        token_ids=token_ids,
        validation=validation if validation.judgments else None,
        train_dataset=features["train"],
        eval_dataset=features["validation"] or None,
        processing_class=tokenizer,
    )
    # The loss must see the temperature that phase 1's checkpoint is used with.
    temperature = checkpoint.card.calibration.temperature
    with torch.no_grad():
        backbone.readout.log_temperature.fill_(torch.tensor(temperature).log())
    before = after = None
    if validation.judgments:
        before = validation_report(checkpoint.folder.name, validation, trainer.validation_logits()[0])
    trainer.train(resume_from_checkpoint=None if state is None else str(state))
    readout = backbone.readout
    with torch.no_grad():  # measured as they are written
        readout.rows.copy_(readout.rows.to(_stored_dtype(checkpoint, files)))
    if validation.judgments:
        trainer.evaluate()
        after = validation_report(run.out.name, validation, trainer.validated)
    base = checkpoint.card.provenance.base or checkpoint.folder.name
    card = checkpoint.card.model_copy(
        update={
            "calibration": Calibration(
                temperature=float(readout.log_temperature.detach().exp()),
                thresholds=checkpoint.card.calibration.thresholds if checkpoint.is_quantized else {},
            ),
            "provenance": _aligned(checkpoint, provenance(base, run.dataset, given, trainer)),
        }
    )
    report = training_run("scalar", run, base, given, trainer, before=before, after=after)
    announce_result(console, report)
    with publishing(run.out) as folder:
        _copy_with_rows(checkpoint, files, readout.rows.detach().cpu(), folder)
        card.save(folder)
        write_training_report(folder, report)
        write_model_card(folder, report, card)
    states.remove(run.folder)
    return Checkpoint.open(run.out)


def realignment(
    recipe: Recipe, model: str | Path, data: str | Path, *, console: Console = QUIET
) -> Callable[[Path, Path], Checkpoint]:
    """Return `train_scalar` as what follows a quantization: a function of the quantized folder and of the one to write.

    What would stop it is found now, and not after a quantization that may take long.

    Args:
        recipe: its `scalar` section and `augment` are read.
        model: the checkpoint that will be quantized.
        data: as in phase 1.
        console: where the data and the result are shown.

    Raises:
        BadInput: `model` is not a checkpoint with the `bins` readout, bad data, or no training pairs.
    """
    _with_bins(model)
    if not Dataset.load(data).of("train").judgments:
        raise BadInput(f"{data}: no query of the split 'train' has a judgment; nothing to align the readout on")
    return lambda quantized, out: train_scalar(recipe, quantized, data, out, console=console)


def _with_bins(model: str | Path) -> Checkpoint:
    checkpoint = Checkpoint.open(model)
    kind = checkpoint.card.readout.kind
    if kind != "bins":
        raise BadInput(f"{model}: phase 2 needs the readout 'bins', this checkpoint has {kind!r}")
    return checkpoint


def phase1_defaults(lora: Lora | None, validated: bool) -> dict[str, Any]:
    """Return what phase 1 gets unless the recipe says otherwise: LoRA learns at a higher rate than all weights."""
    return {
        **DEFAULTS,
        "bf16": True,
        "learning_rate": 2e-5 if lora is None else 2e-4,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "eval_strategy": "steps" if validated else "no",
        "eval_steps": 0.1,
    }


def target_noise(variance: Variance, train: Dataset) -> tuple[Noise | None, FittedNoise | None]:
    """Return the σ(y) of the targets and, if it is estimated from the training labels, the estimate."""
    if variance == "fixed":
        return Noise(), None
    if variance == "empirical":
        return None, None
    fitted = fit_noise([row.labels for row in train.judgments])
    return fitted.noise, fitted


def distributional_trainer(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    prompt: Prompt,
    run: Run,
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
        return rows_dataset(prompt, part, wanted, row_tokens=config.row_tokens, augment=varied, seed=config.seed)

    validated = bool(run.validation.judgments)
    return DistributionalTrainer(
        model,
        config,
        validation=run.validation if validated else None,
        train_dataset=rows(run.train, augment),
        eval_dataset=rows(run.validation) if validated else None,
        processing_class=tokenizer,
        **more,
    )


def _new_base(recipe: Recipe, texts: list[str], folder: Path, seed: int) -> Path:
    """Return a new base in the run's own folder; a resumed run finds the one that it began with."""
    folder = folder / "base"
    return folder if folder.is_dir() else new_base(texts, recipe.shape, folder, seed=seed)


def _matrix_files(checkpoint: Checkpoint, model: PreTrainedModel) -> dict[str, list[str]]:
    """Return the files of weights that hold the output matrix, with its names there: a tied one has two, either or both stored."""
    matrix = model.get_output_embeddings().weight
    names = [name for name, one in model.named_parameters(remove_duplicate=False) if one is matrix]
    files = {}
    for file in sorted(checkpoint.folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            if held := [name for name in names if name in stored.keys()]:  # noqa: SIM118 - not a mapping
                files[file.name] = held
    if not files:
        raise BadInput(
            f"{checkpoint.folder}: no file of weights holds {' or '.join(names)}, where the readout's rows are"
        )
    return files


def _stored_dtype(checkpoint: Checkpoint, files: dict[str, list[str]]) -> torch.dtype:
    """Return the dtype in which the output matrix is stored."""
    file, names = next(iter(files.items()))
    with safe_open(checkpoint.folder / file, framework="pt") as stored:
        dtype: torch.dtype = stored.get_tensor(names[0]).dtype
        return dtype


def _copy_with_rows(checkpoint: Checkpoint, files: dict[str, list[str]], rows: Tensor, folder: Path) -> None:
    """Copy a checkpoint with other rows `[11, hidden]` in its output matrix; each other tensor and file stays as it is, to the byte.

    The model in memory is never saved: of a quantized checkpoint it has decoded weights.
    """
    shutil.copytree(
        checkpoint.folder,
        folder,
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns(*files),
        dirs_exist_ok=True,
    )
    for file, names in files.items():
        with safe_open(checkpoint.folder / file, framework="pt") as stored:
            metadata = stored.metadata()
        tensors = load_file(checkpoint.folder / file)
        for name in names:
            tensors[name][list(checkpoint.card.readout.token_ids)] = rows.to(tensors[name].dtype)
        save_file(tensors, folder / file, metadata)


def _aligned(checkpoint: Checkpoint, made: Provenance) -> Provenance:
    """Return where a checkpoint with a new readout comes from; a quantized one still says how it was trained and quantized."""
    if not checkpoint.is_quantized:
        return made
    parent = checkpoint.card.provenance
    realigned = Realignment(data=made.data, recipe=made.recipe)
    quantization = (parent.quantization or Quantization()).model_copy(update={"realigned": realigned})
    return parent.model_copy(update={"metrics": made.metrics, "commit": made.commit, "quantization": quantization})


def _finish(
    trainer: BinTrainer, tokenizer: PreTrainedTokenizerFast, card: Card, run: Run, report: TrainingRun
) -> Checkpoint:
    """Write the checkpoint on the first process, then remove the run's own state."""
    processes = PartialState()
    model = _unsharded(trainer)
    if processes.is_main_process:
        write_checkpoint(_plain(model), tokenizer, card, run.out, report)
        states.remove(run.folder)
    processes.wait_for_everyone()
    return Checkpoint.open(run.out)


def _unsharded(trainer: BinTrainer) -> nn.Module:
    """Return the trained model with all its weights in this process; sharded ones are gathered, which needs every process."""
    if trainer.accelerator.distributed_type != DistributedType.FSDP:
        return trainer.model
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    whole: Any = type(trainer.model)(trainer.model.config)
    whole.bin_token_ids = trainer.model.bin_token_ids
    add_bin_rows(whole, whole.bin_token_ids)
    whole.load_state_dict(weights, strict=False)  # a tied output matrix is not listed twice
    return whole


def _plain(model: Any) -> PreTrainedModel:
    """Return a trained model as one of ordinary modules: LoRA merged, the eleven rows in the output matrix."""
    model = merge_into_plain(model) if isinstance(model, PeftModel) else model
    if "bin_rows" in model._modules:
        with torch.no_grad():
            matrix = model.get_output_embeddings().weight
            matrix[model.bin_token_ids] = model.bin_rows.weight.to(matrix.dtype)
        del model.bin_rows
    return model
