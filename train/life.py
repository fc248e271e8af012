"""The life of a training run, which is the same for every kind: open, prepare, train, measure, publish.

`live` reads from top to bottom what happens to each of them. `Training` is what a kind says of itself; the five of them
are `distributional`, `scalar`, `adapter`, `encoder` and `distil`. The data and folders of a run are `opened_run`'s, the
states that are saved on the way `saved_states`', the documents that it leaves `report`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from accelerate import DistributedType, PartialState
from rich.console import Console
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import Card, Provenance, Teaching
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, RPS, Evaluation, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.tables import difference_table, ranking_table
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.system.machine import source_commit
from gen_rerank.system.publishing import folder_appearing, opened_before_named
from train import saved_states as states
from train.epoch import Epoch
from train.measuring import ValidationSample, affordable_sample
from train.noise import FittedNoise, disagreement
from train.opened_run import OpenedRun
from train.readout_choice import ReadoutChoice
from train.recipe import RecipeFile
from train.report import RUN, write_model_card, write_training_report
from train.targets import Noise
from train.tiers import JudgedLogits, choosing_half, with_tiers
from train.training_run import Kind, TrainingRun

Made = TypeVar("Made", Checkpoint, Adapter)


@dataclass(frozen=True)
class Lesson:
    """A run that is ready to be trained.

    Attributes:
        trainer: the library's, with model, data and arguments.
        prompt: how its pairs became tokens.
        noise: the σ(y) of its targets; None where they have none.
        fitted: how `noise` was estimated, where it was.
        epoch: what it will read; None where that is next to nothing.
        notice: what else is to be known before it begins, a sentence; empty where nothing is.
        teaching: whose distributions are learned; None where labels are.
    """

    trainer: Any
    prompt: Prompt
    noise: Noise | None = None
    fitted: FittedNoise | None = None
    epoch: Epoch | None = None
    notice: str = ""
    teaching: Teaching | None = None


@dataclass(frozen=True)
class Measured:
    """What the validation queries say of a run; all None where there are none.

    Attributes:
        before: what it started from.
        after: what came out.
        temperature: by which what came out divides its logits.
        said: what came out says of them, for its tiers.
        choice: of phase 2, which readout came out.
        remarks: what the queries can show and what they cannot, in sentences.
    """

    before: Evaluation | None = None
    after: Evaluation | None = None
    temperature: float = 1.0
    said: JudgedLogits | None = None
    choice: ReadoutChoice | None = None
    remarks: tuple[str, ...] = ()


class Training(ABC, Generic[Made]):
    """A kind of run: what it was asked for, and one method a step of its life, in the order in which `live` calls them.

    A subclass has no state of its own beside what it was asked for; what a step finds out, it hands on.
    """

    kind: ClassVar[Kind]
    config_class: ClassVar[type[TrainingArguments]]
    holds_out: ClassVar[bool] = False
    """Whether what is measured while it trains are training queries that it holds out, and not validation."""

    recipe: RecipeFile

    @property
    def given(self) -> dict[str, Any]:
        """The recipe, as it is recorded and compared when a run is resumed."""
        return self.recipe.model_dump(mode="json", exclude_none=True)

    @property
    def section(self) -> dict[str, Any]:
        """What the recipe says of the trainer's arguments, in the section that is named like the kind."""
        section: dict[str, Any] = getattr(self.recipe, self.kind)
        return section

    @property
    @abstractmethod
    def defaults(self) -> dict[str, Any]:
        """What it gets where the recipe says nothing, of `train.defaults`."""

    @property
    @abstractmethod
    def base_name(self) -> str:
        """What it starts from, for people."""

    @property
    def base_source(self) -> str | None:
        """Where the weights behind `base_name` were found, if that alone does not say it."""
        return None

    @property
    def origin(self) -> dict[str, str]:
        """The fingerprint of the checkpoint that it starts from, under the name by which a difference is told."""
        return {}

    def opened(self, data: str | Path, out: str | Path, console: Console, *, skip_bad_rows: bool) -> OpenedRun:
        """Read the data and show what they hold.

        Raises:
            BadInput: `out` is taken, or the data cannot be used.
        """
        return OpenedRun.open(data, out, console, skip_bad_rows=skip_bad_rows)

    def check(self, run: OpenedRun) -> None:
        """Refuse what cannot be done with these data, or on these processes.

        Raises:
            BadInput: one sentence says what.
        """

    @abstractmethod
    def base(self, run: OpenedRun, config: Any) -> str | Path:
        """Return the name or folder to start from; a new base is made in the run's folder, which keeps it.

        The first process is here before the others.
        """

    @abstractmethod
    def prepare(self, run: OpenedRun, config: Any, base: str | Path) -> Lesson:
        """Open the base and make the trainer with its data.

        Raises:
            BadInput: a base, a recipe and data that do not fit together.
        """

    def start_logits(self, run: OpenedRun, lesson: Lesson) -> Any:
        """Return what `measure` needs from before training, where a reranker goes on.

        Most often these are bin logits `[judgments, 11]` of the validation queries.

        Raises:
            BadInput: what it finds speaks against the training.
        """
        return None

    @abstractmethod
    def measure(self, run: OpenedRun, lesson: Lesson, start: Any) -> Measured:
        """Measure what was trained as it will be used; `start` is what `start_logits` returned."""

    def announce(self, console: Console, report: TrainingRun) -> None:
        """Show what was measured."""
        announce_result(console, report)

    @abstractmethod
    def card(self, lesson: Lesson, measured: Measured, provenance: Provenance) -> Card:
        """Return how the result is read, prompted and calibrated, and where it comes from."""

    def whole_model(self, lesson: Lesson) -> nn.Module:
        """Return the trained model with all its weights in this process; every process is here."""
        model: nn.Module = lesson.trainer.model
        return model

    @abstractmethod
    def save(self, lesson: Lesson, model: nn.Module, card: Card, folder: Path) -> None:
        """Write weights, card and what else a reader needs into an empty folder."""

    @abstractmethod
    def open(self, out: Path) -> Made:
        """Open the result as everybody will."""


def live(
    training: Training[Made],
    data: str | Path,
    out: str | Path,
    *,
    resume: bool,
    skip_bad_rows: bool,
    console: Console,
) -> Made:
    """Live the life of one run and return its result.

    Every process of `accelerate launch` calls this; the first one speaks and writes.

    Args:
        training: what is trained, and from what.
        data: a data set folder, or what else this kind opens.
        out: the result's folder. While training, the run's own state lies in `<out>.training`.
        resume: go on from the last whole state in `<out>.training`.
        skip_bad_rows: leave bad rows of the data out, and list them, instead of stopping.
        console: where data, plan and result are shown.

    Raises:
        BadInput: bad data or recipe, a taken `out`, nothing to resume, a training that diverged, a result that must
            not be published or does not open, a full disk.

    Example:
        >>> phase1 = Distributional(Recipe.load("nano"))  # doctest: +SKIP
        >>> live(phase1, "shop", "runs/phase1", resume=False, skip_bad_rows=False, console=QUIET)  # doctest: +SKIP
    """
    run = training.opened(data, out, console, skip_bad_rows=skip_bad_rows)
    training.check(run)
    config = run.arguments(training.config_class, training.section, training.defaults, holds_out=training.holds_out)
    # What cannot be prepared ends a new run; of a resumed one the states stay, which may be the work of days.
    refused = nullcontext if resume else partial(states.ended_by_refusal, run.folder)
    with config.main_process_first(desc="the run's folder"):
        state = run.begin({"recipe": training.given, **training.origin}, resume=resume)
        with refused():
            base = training.base(run, config)
    with refused():
        lesson = training.prepare(run, config, base)
    if lesson.epoch is not None:
        lesson.epoch.announce(console)
    if lesson.notice and PartialState().is_main_process:
        console.print(lesson.notice)
    with states.ended_by_refusal(run.folder):
        start = training.start_logits(run, lesson)
        sample = _sample(run, lesson, console)
        with nullcontext() if sample is None else lesson.trainer.measuring(sample):
            lesson.trainer.train(resume_from_checkpoint=None if state is None else str(state))
        _refuse_diverged(lesson.trainer.model)
        measured = training.measure(run, lesson, start)
        report = training_run(training, run, lesson, measured, resumed=state is not None)
        report = report if sample is None else replace(report, sampled=sample.queries)
        training.announce(console, report)
        chosen_by = sample if lesson.trainer.args.load_best_model_at_end else None
        if measured.said is not None:
            measured = replace(measured, said=measured.said.without(chosen_by))
    return _publish(training, run, lesson, measured, report, console)


def _sample(run: OpenedRun, lesson: Lesson, console: Console) -> ValidationSample | None:
    """Return which validation queries are measured on the way, and say so where not all are."""
    if lesson.epoch is None or not run.validated:
        return None
    trainer = lesson.trainer
    half = choosing_half(run.validation, trainer.args)
    if half is not None:
        return half
    sample = affordable_sample(run.validation, trainer.reading_cost, trainer.args, lesson.epoch)
    if sample is not None:
        sample.announce(console)
    return sample


def training_run(
    training: Training[Made], run: OpenedRun, lesson: Lesson, measured: Measured, *, resumed: bool
) -> TrainingRun:
    """Return what the run's documents are made of; of a resumed run the time is not known."""
    history, epoch = lesson.trainer.state.log_history, lesson.epoch
    times = [] if resumed else [row["train_runtime"] for row in history if "train_runtime" in row]
    seconds = times[0] if times else None
    pairs = None if epoch is None else epoch.pairs * float(lesson.trainer.state.epoch or 0.0)
    return TrainingRun(
        kind=training.kind,
        name=run.out.name,
        base=training.base_name,
        data=run.summary,
        fingerprint=run.dataset.fingerprint,
        recipe=training.given,
        history=tuple(history),
        tokens=None if epoch is None else epoch.tokens,
        padding=None if epoch is None else epoch.padding,
        pairs_per_second=pairs / seconds if pairs and seconds else None,
        seconds=seconds,
        noise=lesson.noise,
        fitted=lesson.fitted,
        disagreement=tuple(disagreement(run.train.judgments)),
        before=measured.before,
        after=measured.after,
        choice=measured.choice,
        floors=tuple(evaluate_floors(run.validation)) if run.validated else (),
        remarks=measured.remarks,
    )


def announce_result(console: Console, report: TrainingRun) -> None:
    """Show what validation says, beside the floors and what was there before, on the first process."""
    if not (PartialState().is_main_process and report.systems):
        return
    console.print(ranking_table(report.systems))
    if report.before is not None and report.after is not None:
        console.print(difference_table({f"{report.after.name} - {report.before.name}": report.gain}))
    for remark in report.remarks:
        console.print(remark)


def validation_report(name: str, validation: Dataset, logits: Tensor) -> Evaluation:
    """Return the evaluation of bin logits `[judgments, 11]` on the validation queries."""
    return evaluate(name, validation, Distribution.from_logits(logits.numpy()))


def refuse_sharding(trainer: Trainer, why: str) -> None:
    """Refuse to train under FSDP what it cannot shard.

    Raises:
        BadInput: the trainer runs under FSDP.
    """
    if trainer.accelerator.distributed_type == DistributedType.FSDP:
        raise BadInput(f"{why}: launch it with train/launch/ddp.yaml, where each process has the whole model")


@contextmanager
def result_appearing(out: Path) -> Iterator[Path]:
    """Give a folder to write a run's result into, which becomes `out` when the block ends well: whole or not at all.

    Raises:
        CanGoOn: a file could not be written.
    """
    try:
        with folder_appearing(out) as folder:
            yield folder
    except (OSError, SafetensorError) as error:
        raise states.CanGoOn(
            f"{out}: the result could not be written ({' '.join(str(error).split())}); "
            "make room and run the same command with --resume"
        ) from error


def _publish(
    training: Training[Made],
    run: OpenedRun,
    lesson: Lesson,
    measured: Measured,
    report: TrainingRun,
    console: Console,
) -> Made:
    """Write the result on the first process, calibrated where it can be, then remove the run's own state."""
    card = training.card(lesson, measured, _provenance(training, run, lesson))
    processes = PartialState()
    model = training.whole_model(lesson)
    if processes.is_main_process:
        with result_appearing(run.out) as folder:
            training.save(lesson, model, card, folder)
            with states.ended_by_refusal(run.folder):
                made = opened_before_named(training.open, folder, run.out)
            card = with_tiers(made, card, measured.said, folder, run.out.name, console)
            write_training_report(folder, report)
            write_model_card(folder, report, card)
            with states.ended_by_refusal(run.folder):
                opened_before_named(training.open, folder, run.out)
                opened_before_named(lambda made: TrainingRun.load(made / RUN), folder, run.out)
        states.remove(run.folder)
    processes.wait_for_everyone()
    return training.open(run.out)


def _refuse_diverged(model: nn.Module) -> None:
    """Refuse weights that are no numbers: whatever read them would give no score.

    Raises:
        BadInput: a weight is not finite.
    """
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise BadInput(
                f"training has diverged: {name} holds numbers that are not finite, so nothing was written; lower the "
                "recipe's learning rate"
            )


def _provenance(training: Training[Made], run: OpenedRun, lesson: Lesson) -> Provenance:
    more: dict[str, Any] = {} if lesson.fitted is None else {"noise": lesson.fitted.model_dump(mode="json")}
    return Provenance(
        base=training.base_name,
        base_source=training.base_source,
        data=run.dataset.fingerprint,
        recipe=training.given,
        metrics=_last_metrics(lesson.trainer),
        commit=source_commit(),
        teaching=lesson.teaching,
        **more,
    )


def _last_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the training loss and what was last measured on validation queries, by name; the card keeps the finite."""
    found: dict[str, float] = {}
    for row in trainer.state.log_history:
        found |= {"train_loss": row["train_loss"]} if "train_loss" in row else {}
        names = (name for name in ("loss", HEADLINE.lower(), RPS.lower()) if f"eval_{name}" in row)
        found |= {f"validation_{name}": row[f"eval_{name}"] for name in names}
    return {name: float(value) for name, value in found.items()}
