"""Long work says how far it is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gen_rerank.reporting.progress import SECONDS_BETWEEN_LINES, WorkProgress


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(text: io.StringIO) -> list[str]:
    return [line for line in text.getvalue().splitlines() if line.strip()]


def test_without_a_terminal_a_line_comes_every_half_minute(clock: Clock) -> None:
    text = io.StringIO()
    with WorkProgress(console=Console(file=text, width=200), get_time=clock) as progress:
        task = progress.add_task("scoring", total=1000)
        for _ in range(10):
            clock.now += SECONDS_BETWEEN_LINES / 2
            progress.advance(task, 100)
    assert lines(text) == [
        "scoring: 200 of 1,000 (20%), 0:00:30 gone, about 0:02:00 left",
        "scoring: 400 of 1,000 (40%), 0:01:00 gone, about 0:01:30 left",
        "scoring: 600 of 1,000 (60%), 0:01:30 gone, about 0:01:00 left",
        "scoring: 800 of 1,000 (80%), 0:02:00 gone, about 0:00:30 left",
        "scoring: 1,000 of 1,000 (100%), 0:02:30 gone, about 0:00:00 left",
    ]


def test_short_work_says_nothing(clock: Clock) -> None:
    text = io.StringIO()
    with WorkProgress(console=Console(file=text), get_time=clock) as progress:
        task = progress.add_task("scoring", total=10)
        clock.now += SECONDS_BETWEEN_LINES - 1
        progress.advance(task, 10)
    assert lines(text) == []


def test_what_a_task_carries_is_in_its_line(clock: Clock) -> None:
    text = io.StringIO()
    with WorkProgress(console=Console(file=text, width=200), get_time=clock) as progress:
        task = progress.add_task("[training]", total=4, figures="")
        clock.now += SECONDS_BETWEEN_LINES
        progress.update(task, completed=1, figures="loss 0.5")
    assert lines(text) == ["[training]: 1 of 4 (25%), 0:00:30 gone, about 0:01:30 left; loss 0.5"]


def test_the_time_left_of_resumed_work_is_counted_from_where_it_began(clock: Clock) -> None:
    text = io.StringIO()
    with WorkProgress(console=Console(file=text, width=200), get_time=clock) as progress:
        task = progress.add_task("training", total=1000, completed=900)
        clock.now += SECONDS_BETWEEN_LINES
        progress.update(task, completed=950)
    assert lines(text) == ["training: 950 of 1,000 (95%), 0:00:30 gone, about 0:00:30 left"]


def test_on_a_terminal_there_is_a_bar(clock: Clock) -> None:
    text = io.StringIO()
    with WorkProgress(console=Console(file=text, width=80, force_terminal=True), get_time=clock) as progress:
        task = progress.add_task("scoring", total=2)
        clock.now += SECONDS_BETWEEN_LINES
        progress.advance(task)
    assert "gone" not in text.getvalue()
    assert "1/2" in text.getvalue()


def test_a_quiet_console_stays_quiet(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with WorkProgress(console=Console(quiet=True), get_time=clock) as progress:
        task = progress.add_task("scoring", total=2)
        clock.now += SECONDS_BETWEEN_LINES
        progress.advance(task)
    assert capfd.readouterr() == ("", "")
