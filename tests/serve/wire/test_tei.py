from __future__ import annotations

import math
from typing import Any

import pytest

from serve.question import Refusal
from serve.wire import TEI

GOOD: dict[str, Any] = {"query": "red desk", "texts": ["Lamp", "Red desk", "Desk"]}


def test_one_pair_a_text(ask: Any) -> None:
    question = ask(TEI, GOOD | {"truncation_direction": "Right"})
    assert [pair.product.title for pair in question.items] == GOOD["texts"]
    assert not question.refuse_cut


@pytest.mark.parametrize(("truncate", "refuses"), [(True, False), (False, True), (None, False)])
def test_only_truncate_false_refuses_what_does_not_fit(truncate: bool | None, refuses: bool, ask: Any) -> None:
    assert ask(TEI, GOOD | {"truncate": truncate}).refuse_cut is refuses


def test_the_answer_is_a_bare_sorted_array(reply: Any) -> None:
    answer = reply(TEI, GOOD | {"return_text": True}, [0, 10, 5])
    assert [(row["index"], row["score"], row["text"]) for row in answer] == [
        (1, 1.0, "Red desk"),
        (2, 0.5, "Desk"),
        (0, 0.0, "Lamp"),
    ]
    assert [row["tier"] for row in answer] == ["exact", "close", "irrelevant"]
    assert "text" not in reply(TEI, GOOD, [0, 10, 5])[0]


def test_raw_scores_are_finite_log_odds(reply: Any) -> None:
    edge = math.log((1 - 1e-6) / 1e-6)
    scores = [row["score"] for row in reply(TEI, GOOD | {"raw_scores": True}, [0, 10, 5])]
    assert scores == pytest.approx([edge, 0.0, -edge], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"texts": []}, "texts is empty"),
        ({"texts": [""]}, "texts.0 has no text"),
        ({"texts": [{"title": "a"}]}, "texts.0: input should be a valid string"),
        ({"query": ""}, "query has no text"),
        ({"truncate": "maybe"}, "truncate"),
    ],
)
def test_bad_requests(changes: dict[str, Any], words: str, refused: Any) -> None:
    assert words in refused(TEI, GOOD | changes).sentence


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "Validation"),
        (404, "Validation"),
        (413, "Validation"),
        (422, "Validation"),
        (429, "Overloaded"),
        (500, "Backend"),
        (503, "Unhealthy"),
        (504, "Backend"),
    ],
)
def test_errors(status: int, kind: str) -> None:
    refusal = Refusal(status, "no")
    assert TEI.error(refusal) == {"error": "no", "error_type": kind}
    assert TEI.status(refusal) == status
