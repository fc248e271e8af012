"""How far long work is: a bar on a terminal, and a plain line every half minute where there is none.

Both go to the standard error, so that what a command prints is its result alone. How much work there is, and when a
part of it is done, the caller says.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


def progress_console(*, quiet: bool = False) -> Console:
    """Return where progress is shown: on the standard error, or nowhere."""
    return Console(stderr=True, quiet=quiet, markup=False, emoji=False)


class WorkProgress(Progress):
    """Rich's progress, which also speaks where the output is no terminal: in a log, in a pipe, under nohup.

    Args:
        columns: of the bar; name, bar, count and time left by default.
        console: where it is shown; the standard error by default.
        more: as rich's `Progress` takes it.

    Example:
        >>> with WorkProgress() as progress:  # doctest: +SKIP
        ...     task = progress.add_task("scoring", total=4000)
        ...     progress.advance(task, 2048)
    """

    def __init__(self, *columns: Any, console: Console | None = None, **more: Any) -> None:
        name = TextColumn("{task.description}", markup=False)  # a folder's
        usual = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = console or progress_console()
        super().__init__(*(columns or usual), console=console, disable=not console.is_terminal, **more)
        self._said: dict[TaskID, float] = {}
        self._began: dict[TaskID, float] = {}

    def add_task(self, description: str, *args: Any, **more: Any) -> TaskID:
        """Begin a part of the work; its first line comes after half a minute."""
        task = super().add_task(description, *args, **more)
        self._said[task] = self.get_time()
        self._began[task] = self._tasks[task].completed
        return task

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count what is done."""
        super().advance(task_id, advance)
        self._say(task_id)

    def update(self, task_id: TaskID, **more: Any) -> None:
        """Change a part of the work: `completed`, `total`, `description` or a field of its own."""
        super().update(task_id, **more)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        """Print a line, if the last one is long enough ago and there is no bar."""
        now = self.get_time()
        if self.console.is_terminal or now - self._said[task_id] < SECONDS_BETWEEN_LINES:
            return
        self._said[task_id] = now
        self.console.print(self._line(task_id, now), markup=False, highlight=False, soft_wrap=True)

    def _line(self, task_id: TaskID, now: float) -> str:
        task = self._tasks[task_id]
        gone = now - (task.start_time if task.start_time is not None else now)
        words = [f"{task.description}: {task.completed:,.0f}"]
        if task.total:
            words = [f"{words[0]} of {task.total:,.0f} ({task.completed / task.total:.0%})", f"{_clock(gone)} gone"]
            done = task.completed - self._began[task_id]  # by this process: a resumed run begins in the middle
            if done > 0:
                left = gone * (task.total - task.completed) / done
                words.append(f"about {_clock(left)} left")
        more = [str(value) for value in task.fields.values() if value]
        return ", ".join(words) + (f"; {' '.join(more)}" if more else "")


def _clock(seconds: float) -> str:
    """Return a time as a clock shows it, to the second, as rich's bars do."""
    return str(timedelta(seconds=round(seconds)))
