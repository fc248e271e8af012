"""Phase 2: the backbone stays as it is, and the score is aligned where that shows a gain.

The backbone, of a checkpoint or of a quantized copy, reads each pair once; the eleven rows and the temperature are
trained on its last hidden states (`readout_fits`). What is written are the same files with another readout in them, or
the same files where cross-validation shows no gain.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import Calibration, Card, Provenance, Quantization, Realignment
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.fitting.pages import FIGURES, PAGE
from gen_rerank.reporting.progress import progress_console
from train import defaults
from train.bases import open_checkpoint
from train.inputs import features_dataset
from train.life import Lesson, Measured, Training, live, validation_report
from train.opened_run import OpenedRun
from train.pair_trainer import validation_metrics
from train.progress import QUIET
from train.readout_choice import ReadoutChoice
from train.readout_fits import ReadoutFits, ReadPairs
from train.recipe import Recipe
from train.scalar_trainer import ScalarConfig, TrainedReadout
from train.tiers import JudgedLogits
from train.training_run import TrainingRun


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
    """Run phase 2 on a checkpoint and write another: its files differ in the eleven rows, card and documents only.

    The trained rows are published if cross-validation over the training queries shows a gain (`readout_choice`), else
    rows, temperature and thresholds stay what they are, and so does every score. `readout_choice` in the card's
    provenance (of a quantized checkpoint in `quantization`) says which.

    On a quantized checkpoint this aligns the readout again with what quantization has made of the backbone. Its
    features are those that the scorer computes: decoded weights, and activations that are rounded as the scheme says.
    The thresholds of a quantized checkpoint stay, because what is written is to take its parent's place on the same
    scale of scores; those of a plain one belong to other scores and are left out.

    Args:
        recipe: its `scalar` section is read.
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
        >>> train_scalar(Recipe.load("nano"), "runs/model-mxfp4", "shop", "runs/realigned")  # doctest: +SKIP
    """
    training = Scalar(recipe, _with_bins(model))
    return live(training, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)


def realignment(
    recipe: Recipe, model: str | Path, data: str | Path, *, console: Console = QUIET
) -> Callable[[Path, Path], Checkpoint]:
    """Return `train_scalar` as what follows a quantization: a function of the quantized folder and of the one to write.

    What would stop it is found now, and not after a quantization that may take long.

    Args:
        recipe: its `scalar` section is read.
        model: the checkpoint that will be quantized.
        data: as in phase 1.
        console: where the data and the result are shown.

    Raises:
        BadInput: `model` is not a checkpoint with the `bins` readout, bad data, or no training pairs.
    """
    _with_bins(model)
    dataset = Dataset.load(data)
    if not dataset.of("train").judgments:
        raise BadInput(
            f"{data}: no query of the split 'train' has a judgment; nothing to align the readout on "
            f"({dataset.judged_splits()})"
        )
    return lambda quantized, out: train_scalar(recipe, quantized, data, out, console=console)


@dataclass(frozen=True)
class Scalar(Training[Checkpoint]):
    """Phase 2 as a kind of run.

    Attributes:
        recipe: its `scalar` section is read.
        checkpoint: what is aligned, with the bins readout.
    """

    kind = "scalar"
    config_class = ScalarConfig
    holds_out = True

    recipe: Recipe
    checkpoint: Checkpoint

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of phase 2."""
        return defaults.SCALAR

    @property
    def base_name(self) -> str:
        """What the checkpoint was trained from, or its own name."""
        return self.checkpoint.card.provenance.base or self.checkpoint.folder.name

    @property
    def base_source(self) -> str | None:
        """What the checkpoint says of it."""
        return self.checkpoint.card.provenance.base_source

    @property
    def origin(self) -> dict[str, str]:
        """The checkpoint."""
        return {"model": self.checkpoint.fingerprint}

    def check(self, run: OpenedRun) -> None:
        """Refuse several processes, and a recipe that has states chosen in another way."""
        for name in ("metric_for_best_model", "load_best_model_at_end"):
            if self.section.get(name):
                raise BadInput(
                    f"the recipe: {name} has no use in phase 2: the state with the least squared error on held-out "
                    "training queries is taken; remove it"
                )
        if PartialState().num_processes > 1:
            raise BadInput(
                "phase 2 trains eleven rows on features that one process computes once; "
                "start it without accelerate launch"
            )

    def base(self, run: OpenedRun, config: ScalarConfig) -> str | Path:
        """Return the checkpoint's folder."""
        return self.checkpoint.folder

    def prepare(self, run: OpenedRun, config: ScalarConfig, base: str | Path) -> Lesson:
        """Let the backbone read each pair once, and put a readout of its own beside it."""
        # As the checkpoint is stored, where that is fast; the readout is float32 in any case.
        dtype = torch.float32 if config.use_cpu else torch.bfloat16
        backbone, tokenizer = open_checkpoint(self.checkpoint, dtype)
        backbone.to(config.device)
        fits = self._fits(run, backbone, tokenizer, config)
        if run.validated:
            self._read(run, backbone, config, "validation")
        return Lesson(fits.trainer(fits.queries), self.checkpoint.prompt)

    def start_logits(self, run: OpenedRun, lesson: Lesson) -> Tensor | None:
        """Return what the checkpoint says."""
        return self._validation_logits(run, lesson, lesson.trainer.readout) if run.validated else None

    def measure(self, run: OpenedRun, lesson: Lesson, start: Tensor | None) -> Measured:
        """Choose the readout, and measure it as it is stored: the validation queries have no part in the choice."""
        trainer = lesson.trainer
        fits = self._fits(run, trainer.model, trainer.processing_class, trainer.args)
        trained = fits.settled(trainer)
        choice = fits.choice(_progress(trainer.args))
        readout = trained if choice.trained else fits.start()
        temperature = float(readout.log_temperature.detach().exp()) if choice.trained else fits.temperature
        trainer.model.readout = readout if choice.trained else None  # what `save` puts into the files
        if start is None:
            return Measured(temperature=temperature, choice=choice)
        logits = self._validation_logits(run, lesson, readout)
        predicted = Distribution.from_logits(logits.numpy())
        gold = np.array([row.relevance for row in run.validation.judgments])
        measured = {
            "loss": float(np.mean((predicted.mean - gold) ** 2)),
            **validation_metrics(run.validation, predicted),
        }
        trainer.log({f"eval_{name}": value for name, value in measured.items()})
        return Measured(
            before=validation_report(self.checkpoint.folder.name, run.validation, start),
            after=validation_report(run.out.name, run.validation, logits),
            temperature=temperature,
            said=JudgedLogits(run.validation, logits * readout.log_temperature.detach().exp().cpu()),
            choice=choice,
        )

    def announce(self, console: Console, report: TrainingRun) -> None:
        """Show what was measured, and which readout is published."""
        super().announce(console, report)
        assert report.choice is not None
        console.print(report.choice.sentence, soft_wrap=True)

    def card(self, lesson: Lesson, measured: Measured, provenance: Provenance) -> Card:
        """Return the checkpoint's card with another calibration; where scores or their scale stay, so do thresholds.

        A map and promises are of the scores on which they were found: new rows leave them out.
        """
        choice = measured.choice
        assert choice is not None
        calibration = self.checkpoint.card.calibration
        if choice.trained:
            kept = calibration.thresholds if self.checkpoint.is_quantized else {}
            calibration = Calibration(temperature=measured.temperature, thresholds=kept)
        update = {"calibration": calibration, "provenance": _aligned(self.checkpoint, provenance, choice)}
        return self.checkpoint.card.model_copy(update=update)

    def save(self, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        """Copy the checkpoint, with the trained rows in its output matrix if they are published."""
        trained: Any = model
        rows = None if trained.readout is None else trained.readout.rows.detach().cpu()
        StoredMatrix.of(self.checkpoint, trained).copy_with(rows, folder)
        card.save(folder)

    def open(self, out: Path) -> Checkpoint:
        """Open the checkpoint."""
        return Checkpoint.open(out)

    def _fits(
        self, run: OpenedRun, backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, config: ScalarConfig
    ) -> ReadoutFits:
        """Return what the fits share; what the backbone has read lies in the run's folder."""
        stored = StoredMatrix.of(self.checkpoint, backbone)  # refused now, not after the training
        return ReadoutFits(
            backbone,
            tokenizer,
            config,
            rows=backbone.get_output_embeddings().weight[list(self.checkpoint.card.readout.token_ids)].detach(),
            temperature=self.checkpoint.card.calibration.temperature,
            dtype=stored.dtype,
            pairs=self._read(run, backbone, config, "train"),
        )

    def _read(
        self, run: OpenedRun, backbone: PreTrainedModel, config: ScalarConfig, split: Literal["train", "validation"]
    ) -> ReadPairs:
        """Return the pairs of a split, and what the backbone says of them."""
        data = run.train if split == "train" else run.validation
        examples = features_dataset(
            backbone, self.checkpoint.prompt, data, cache=run.folder / split, console=_progress(config)
        )
        return ReadPairs(data, examples)

    def _validation_logits(self, run: OpenedRun, lesson: Lesson, readout: TrainedReadout) -> Tensor:
        trainer = lesson.trainer
        return self._read(run, trainer.model, trainer.args, "validation").logits(readout)


@dataclass(frozen=True)
class StoredMatrix:
    """Where a checkpoint's output matrix lies in its files.

    Attributes:
        checkpoint: whose it is.
        files: the names of the matrix in each file of weights that holds it; a tied one has two, either or both stored.
    """

    checkpoint: Checkpoint
    files: dict[str, list[str]]

    @classmethod
    def of(cls, checkpoint: Checkpoint, model: PreTrainedModel) -> StoredMatrix:
        """Find the output matrix of `model`, which was loaded from the checkpoint, in its files.

        Raises:
            BadInput: no file holds it.
        """
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
        return cls(checkpoint, files)

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrix as it is stored."""
        file, names = next(iter(self.files.items()))
        with safe_open(self.checkpoint.folder / file, framework="pt") as stored:
            dtype: torch.dtype = stored.get_tensor(names[0]).dtype
            return dtype

    def copy_with(self, rows: Tensor | None, folder: Path) -> None:
        """Copy the checkpoint with other rows `[11, hidden]` in the matrix; all else stays as it is, to the byte.

        The model in memory is never saved: of a quantized checkpoint it has decoded weights.

        Args:
            rows: None leaves the matrix as it is, too.
            folder: an empty one.
        """
        source = self.checkpoint.folder
        changed = {} if rows is None else self.files
        outdated = () if rows is None else (PAGE, FIGURES)
        shutil.copytree(
            source,
            folder,
            copy_function=shutil.copyfile,
            ignore=shutil.ignore_patterns(*changed, *outdated),
            dirs_exist_ok=True,
        )
        for file, names in changed.items():
            assert rows is not None
            with safe_open(source / file, framework="pt") as stored:
                metadata = stored.metadata()
            tensors = load_file(source / file)
            for name in names:
                tensors[name][list(self.checkpoint.card.readout.token_ids)] = rows.to(tensors[name].dtype)
            save_file(tensors, folder / file, metadata)


def _with_bins(model: str | Path) -> Checkpoint:
    checkpoint = Checkpoint.open(model)
    kind = checkpoint.card.readout.kind
    if kind != "bins":
        raise BadInput(f"{model}: phase 2 needs the readout 'bins', this checkpoint has {kind!r}")
    return checkpoint


def _progress(config: ScalarConfig) -> Console:
    return progress_console(quiet=config.disable_tqdm)


def _aligned(checkpoint: Checkpoint, made: Provenance, choice: ReadoutChoice) -> Provenance:
    """Return where a checkpoint comes from whose readout was trained, or stays as it came; `readout_choice` says which.

    A quantized one still says how it was trained, and how it was quantized and then aligned.
    """
    chosen: dict[str, Any] = {"readout_choice": choice.to_json()}
    if not checkpoint.is_quantized:
        return made.model_copy(update=chosen)
    parent = checkpoint.card.provenance
    if choice.trained:
        chosen["realigned"] = Realignment(data=made.data, recipe=made.recipe)
    quantization = (parent.quantization or Quantization()).model_copy(update=chosen)
    return parent.model_copy(update={"metrics": made.metrics, "commit": made.commit, "quantization": quantization})
