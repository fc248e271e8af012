from __future__ import annotations

import math
from typing import Any

import pytest

from serve.wire import TEI

GOOD: dict[str, Any] = {"query": "red desk", "texts": ["Lamp", "Red desk", "Desk"]}


@pytest.mark.parametrize("direction", ["Right", "right", None])
def test_one_pair_a_text(direction: str | None, ask: Any) -> None:
    question = ask(TEI, GOOD | {"truncation_direction": direction})
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
    ("changes", "status", "kind", "words"),
    [
        ({"texts": []}, 400, "Empty", "texts is empty"),
        ({"texts": ["a"] * 1025}, 413, "Validation", "texts has 1025 entries; the limit is 1024"),
        ({"texts": [""]}, 422, "Tokenizer", "texts.0 has no text"),
        ({"texts": [{"title": "a"}]}, 422, "Tokenizer", "texts.0: input should be a valid string"),
        ({"query": ""}, 422, "Tokenizer", "query has no text"),
        ({"truncation_direction": "left"}, 422, "Tokenizer", "truncation_direction must be Right or absent"),
        (
            {"truncation_direction": "Middle"},
            422,
            "Tokenizer",
            "truncation_direction: input should be 'Left' or 'Right'",
        ),
        ({"truncate": "maybe"}, 422, "Tokenizer", "truncate"),
    ],
)
def test_bad_requests(changes: dict[str, Any], status: int, kind: str, words: str, refused: Any) -> None:
    """A client that splits its batch when it is told 413 must be told so for what splitting helps against."""
    refusal = refused(TEI, GOOD | changes)
    assert words in refusal.sentence
    assert TEI.errors.status(refusal) == status
    assert TEI.errors.error(refusal)["error_type"] == kind
