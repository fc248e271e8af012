"""What a promise says, and what a query loses, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gen_rerank.calibration.promises import DEFAULT_PROMISES, Promise, TierLosses
from gen_rerank.errors import BadInput


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("exact: wrong <= 5%", Promise("exact", "wrong", 0.05)),
        ("close:missed<=10 %", Promise("close", "missed", 0.10)),
        (" Close : wrong ≤ 12.5% ", Promise("close", "wrong", 0.125)),
        ("exact: missed <= 0.3", Promise("exact", "missed", 0.3)),
    ],
)
def test_promises_are_read(text: str, parsed: Promise) -> None:
    assert Promise.parse(text) == parsed
    assert Promise.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exact: lost <= 5%", "wrong or missed"),
        ("irrelevant: wrong <= 5%", "exact or close"),
        ("exact: wrong >= 5%", "no promise"),
        ("exact wrong 5", "no promise"),
        ("exact: wrong <= 0%", "between 0% and 100%"),
        ("exact: wrong <= 100%", "between 0% and 100%"),
        ("exact: wrong <= 5", "between 0% and 100%"),
        ("exact: wrong <= nan%", "no promise"),
    ],
)
def test_what_is_no_promise_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        Promise.parse(text)
    assert "exact: wrong <= 5%" in str(refused.value)


def test_the_defaults_are_what_they_say() -> None:
    assert [str(one) for one in DEFAULT_PROMISES] == ["exact: wrong <= 5%", "close: missed <= 10%"]


# Three queries: two products that are exact and one that is not; none that is; one that is, alone.
QUERIES = np.array([0, 0, 0, 1, 1, 2])
RELEVANCE = np.array([1.0, 0.8, 0.2, 0.7, 0.0, 0.9])
SCORES = np.array([0.9, 0.5, 0.6, 0.8, 0.1, 0.3])


def test_losses_by_hand() -> None:
    found = TierLosses.of("exact", SCORES, RELEVANCE, QUERIES, np.array([0.0, 0.5, 0.6, 0.85, 1.0]))
    assert found.wrong[:, 0] == pytest.approx([1 / 3, 1 / 3, 1 / 2, 0, 0]), "at 0.6 a right and a wrong one are shown"
    assert found.wrong[:, 1].tolist() == [1, 1, 1, 0, 0], "none is exact; above 0.8 it shows nothing and loses nothing"
    assert found.wrong[:, 2].tolist() == [0] * 5
    assert found.shown.T.tolist() == [[3, 3, 2, 1, 0], [2, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    missed = found.missed
    assert missed[:, [0, 2]].T.tolist() == [[0, 0, 0.5, 0.5, 1], [0, 1, 1, 1, 1]]
    assert np.isnan(missed[:, 1]).all(), "who has no exact product can miss none"


def test_a_score_that_is_equal_reaches_and_close_begins_at_a_half() -> None:
    found = TierLosses.of("close", np.array([0.9], np.float32), np.array([0.5]), np.array([0]), np.array([0.9]))
    assert (found.wrong.tolist(), found.missed.tolist(), found.shown.tolist()) == ([[0.0]], [[0.0]], [[1]])
