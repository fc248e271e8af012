from __future__ import annotations

from typing import Any

import pytest

from gen_rerank.data.records import Pair, Product
from serve.wire import SYSTEMONE

STATE = {"query": "desk", "document": "Oak desk"}
PAIR = Pair("desk", Product(product_id="0", title="Oak desk"))
NOUL = {"type": "noul", "instructions": "Does `document` help answer `query`?", "criteria": {"true": "a", "false": "b"}}


def body(state: Any = STATE, **questions: Any) -> dict[str, Any]:
    return {"model": "tiny", "state": state, "questions": questions}


def test_a_pair_in_the_state(ask: Any) -> None:
    question = ask(SYSTEMONE, body(relevant=NOUL, exact={"type": "noul"}))
    assert question.items == [PAIR, PAIR]
    assert question.model == "tiny"


def test_a_query_in_the_state_or_a_product(ask: Any) -> None:
    oak = {"type": "noul", "instructions": "Oak desk"}
    assert ask(SYSTEMONE, body("desk", a=oak)).items == [PAIR]
    asked = {"type": "noul", "instructions": "desk"}
    assert ask(SYSTEMONE, body({"product": "Oak desk"}, a=asked)).items == [PAIR]


def test_answers_by_hand(reply: Any) -> None:
    levels = {"type": "score", "criteria": ["no", {"level": "half"}, "yes"]}
    given = reply(SYSTEMONE, body(relevant=NOUL, exact={"type": "noul"}, how=levels), [6, 6, 6])
    assert given == {
        "model": "tiny",
        "answers": {
            "relevant": {"type": "noul", "noul": 1.0},
            "exact": {"type": "noul", "noul": 0.0},
            "how": {
                "type": "score",
                "score": pytest.approx(1.2),
                "legend": {"0": "no", "1": '{"level":"half"}', "2": "yes"},
                "probabilities": {"0": 0.0, "1": pytest.approx(0.8), "2": pytest.approx(0.2)},
                "confidence": pytest.approx(0.7),
            },
        },
        "usage": {"input_tokens": 70, "output_tokens": 0},
    }


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (body({"query": "a", "documents": {"doc_0": "b"}}, a=NOUL), "jev-reranker's listwise mode"),
        (body({"query": "a", "left": "b", "right": "c"}, a=NOUL), "jev-reranker's pairwise mode"),
        (body(), "questions is empty"),
        (body(a={"type": "choice", "criteria": {"x": None, "y": None}}), "the type must be noul or score"),
        (body(a={"type": "score", "criteria": {"0": "a"}}), "questions.a.criteria: input should be a valid list"),
        (body(a={"type": "score", "criteria": ["a"]}), "questions.0.criteria has 1 entries; give at least 2"),
        (body("desk", a={"type": "noul"}), "questions.0.instructions is missing; it is the product"),
        (body({"product": "desk"}, a={"type": "noul"}), "questions.0.instructions is missing; it is the query"),
        (body("desk", **{"a\nb": {"type": "noul", "instructions": 5}}), r"questions.'a\nb'.instructions is neither"),
        (body("desk", **{f"q{i}": NOUL for i in range(401)}), "questions has 401 entries; the limit is 400"),
    ],
)
def test_what_is_refused(asked: dict[str, Any], words: str, refused: Any) -> None:
    assert words in refused(SYSTEMONE, asked).sentence
