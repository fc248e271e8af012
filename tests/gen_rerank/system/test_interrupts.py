"""An interruption is found behind what libraries make of it, and says what is kept."""

from __future__ import annotations

import pytest

from gen_rerank.system.interrupts import interrupted_sentence, interruption_behind, kept_when_interrupted


def test_what_is_kept_is_said_from_the_inside_out() -> None:
    with pytest.raises(KeyboardInterrupt) as stopped, kept_when_interrupted("b is kept"), kept_when_interrupted("a"):
        raise KeyboardInterrupt
    assert interrupted_sentence(stopped.value) == "interrupted; a; b is kept"


def test_other_errors_are_told_nothing() -> None:
    with pytest.raises(ValueError, match="x") as stopped, kept_when_interrupted("a is kept"):
        raise ValueError("x")
    assert not hasattr(stopped.value, "__notes__")


def test_an_interruption_is_found_behind_other_errors() -> None:
    interrupt, wrapped = KeyboardInterrupt(), RuntimeError()
    wrapped.__context__ = interrupt
    outer = SystemExit(130)
    outer.__cause__ = wrapped
    assert interruption_behind(interrupt) is interruption_behind(outer) is interrupt
    assert interruption_behind(ValueError()) is None
    first, second = ValueError(), ValueError()
    first.__context__, second.__context__ = second, first
    assert interruption_behind(first) is None
