"""A run that is opened: its data read and shown, its folders known, nothing done yet.

What is trained on the data is the kinds' (`distributional`, `scalar`, `adapter`, `encoder`), what happens to it
`life`'s. Saved states are `saved_states`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from rich.console import Console

from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import HEADLINE, RPS
from gen_rerank.evaluation.rankable import can_rank
from gen_rerank.reporting.shell import list_left_out
from gen_rerank.system.memory import keep_freed_memory
from gen_rerank.system.publishing import refuse_taken, require_room
from train import saved_states as states
from train.data_check import DataSummary, check, summary_table
from train.recipe import Config, trainer_config


@dataclass(frozen=True)
class OpenedRun:
    """What a run works on, and where.

    Attributes:
        data: the data set's folder, as it was given.
        out: where the result will appear.
        folder: the run's own, `<out>.training`, while it lasts.
        dataset: all of the data.
        summary: of the data, with what looks wrong.
        train: the split that is learned from; something is judged in it.
        validation: the split that is only measured; it may be empty.
    """

    data: str | Path
    out: Path
    folder: Path
    dataset: Dataset
    summary: DataSummary
    train: Dataset
    validation: Dataset

    @classmethod
    def open(cls, data: str | Path, out: str | Path, console: Console, *, skip_bad_rows: bool = False) -> OpenedRun:
        """Read the data and show, on the first process, counts, label histogram and problems before any work.

        Raises:
            BadInput: `out` holds something or cannot be written, bad data, or nothing is judged in the training split.
        """
        out = prepared_place(out)
        dataset = Dataset.load(data, skip_bad_rows=skip_bad_rows)
        summary = check(dataset)
        if PartialState().is_main_process:
            list_left_out(console, dataset.bad_rows)
            console.print(summary_table(summary))
        train = dataset.of("train")
        if not train.judgments:
            raise BadInput(
                f"{data}: no query of the split 'train' has a judgment; nothing to train on ({dataset.judged_splits()})"
            )
        folder = out.with_name(out.name + ".training")
        return cls(data, out, folder, dataset, summary, train, dataset.of("validation"))

    @property
    def validated(self) -> bool:
        """Whether there is something to measure on."""
        return bool(self.validation.judgments)

    def arguments(
        self, kind: type[Config], section: dict[str, Any], defaults: dict[str, Any], *, holds_out: bool = False
    ) -> Config:
        """Return the trainer's arguments: our defaults, and the recipe's section on top.

        Args:
            kind: of the trainer.
            section: the recipe's.
            defaults: ours.
            holds_out: whether training queries are held out, so that there is something to measure without validation.

        Raises:
            BadInput: a wrong argument, one that measures on validation queries where there are none, or one that
                chooses the best state by a measure that these do not have.
        """
        measured = self.validated or holds_out
        unmeasured = {} if measured else {"eval_strategy": "no"}
        chosen = section.get("metric_for_best_model")
        better = {} if chosen is None else {"greater_is_better": measure_named(chosen) == HEADLINE.lower()}
        config = trainer_config(kind, section, self.folder, **{**defaults, **unmeasured, **better})
        if config.eval_strategy != "no" and not measured:
            raise BadInput("eval_strategy needs judged queries of the split 'validation', and there are none")
        if chosen is not None and measure_named(chosen) == HEADLINE.lower() and not can_rank(self.validation):
            raise BadInput(
                f"the recipe: metric_for_best_model: {chosen}: no validation query can be ranked, so that no state is "
                f"better by it; choose eval_{RPS.lower()} or eval_loss"
            )
        return config

    def begin(self, settings: dict[str, Any], *, resume: bool) -> Path | None:
        """Return the state to go on from, or None; the first process prepares the folder, the others find it prepared.

        Args:
            settings: what must be the same for a run to go on.
            resume: go on from the newest whole state.

        Raises:
            BadInput: there is nothing to resume, or it was begun with other settings or data.
        """
        processes = PartialState()
        if not processes.is_main_process:
            return states.newest_whole(self.folder) if resume else None
        # Batches are dealt out by the number of processes: another number would skip other ones.
        here = {"data": self.dataset.fingerprint, "number of processes": processes.num_processes}
        return states.begin(self.folder, {**settings, **here}, resume=resume)


def prepared_place(out: str | Path) -> Path:
    """Return where a result will appear, before any work for it.

    Raises:
        BadInput: something is there, or it cannot be written.
    """
    out = Path(out)
    refuse_taken(out)
    require_room(out)
    keep_freed_memory()
    return out


def measure_named(chosen: Any) -> str:
    """Return the measure by which a recipe chooses the best state; the trainers take the name with `eval_` or without.

    Raises:
        BadInput: nothing of this name is measured on validation queries.

    Example:
        >>> measure_named("eval_rps")
        'rps'
    """
    known = ("loss", HEADLINE.lower(), RPS.lower())
    name = str(chosen).removeprefix("eval_")
    if name not in known:
        there = ", ".join(f"eval_{one}" for one in known)
        raise BadInput(f"the recipe: metric_for_best_model: there is no measure {chosen!r}; choose one of {there}")
    return name
