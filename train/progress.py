"""How far a training run is: step, loss, validation measures, time left, as a bar or, without a terminal, as lines.

It takes the place of the libraries' bars and of their printed dictionaries; every figure is in the trainer's log
history as well.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from datasets import disable_progress_bars
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging as transformers_logging

from gen_rerank.evaluation.evaluation import HEADLINE, RPS
from gen_rerank.reporting.progress import WorkProgress

QUIET = Console(quiet=True)

# What is shown of the trainer's log, and what it is called.
_SHOWN = {"loss": "loss", f"eval_{HEADLINE.lower()}": f"validation {HEADLINE}", f"eval_{RPS.lower()}": RPS}


class TrainingBar(TrainerCallback):
    """Shows a run's progress on the process that writes to the terminal."""

    def __init__(self) -> None:
        """Start with nothing to show."""
        self.progress: WorkProgress | None = None
        self.task = TaskID(0)
        self.figures: dict[str, str] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Draw the bar."""
        if not state.is_world_process_zero:
            return
        self.progress = WorkProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.task = self.progress.add_task("training", total=state.max_steps, completed=state.global_step, figures="")
        self.progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Show the latest figures."""
        if self.progress is not None:
            self.figures |= {_SHOWN[name]: f"{value:.4f}" for name, value in (logs or {}).items() if name in _SHOWN}
            shown = "  ".join(f"{name} {value}" for name, value in self.figures.items())
            self.progress.update(self.task, figures=shown)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave the bar as it stands."""
        if self.progress is not None:
            self.progress.stop()


def quiet_libraries() -> None:
    """Let training say what it has to say, and hide the bars and remarks of the libraries under it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("train").setLevel(logging.INFO)
    logging.getLogger("bm25s").addFilter(_matters)  # a level would be set anew when bm25s is opened
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()


def _matters(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
