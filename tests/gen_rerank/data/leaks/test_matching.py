"""Queries that are alike: planted copies in other order, with slips and in other words, and innocent neighbours."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gen_rerank import Dataset
from gen_rerank.data.leaks.matching import Thresholds, alike
from gen_rerank.data.leaks.wording import is_slip, words_of_query

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slipped(text: str, rng: random.Random) -> str:
    """The text with one slip of the fingers in a word of four letters or more."""
    words = text.split()
    place = rng.choice([i for i, word in enumerate(words) if len(word) >= 5 and word.isalpha()])
    word = words[place]
    at = rng.randrange(len(word) - 1)
    words[place] = rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + rng.choice(LETTERS) + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )
    return " ".join(words)


def test_planted_leaks_are_found_and_innocents_are_few(sample_shop: Dataset) -> None:
    """Same and reordered all, slips at least 90%; of queries of another split, generated apart, hardly any."""
    rng = random.Random(0)
    texts = {key: row.text for key, row in sample_shop.of("test").queries.items() if len(row.text.split()) >= 2}
    texts = {key: text for key, text in texts.items() if any(len(w) >= 5 and w.isalpha() for w in text.split())}
    chosen = dict(list(texts.items())[:150])
    assert len(chosen) == 150
    planted = {}
    for key, text in chosen.items():
        planted[f"same {key}"] = f"  {text.upper()}! "
        planted[f"order {key}"] = " ".join(rng.sample(text.split(), len(text.split())))
        planted[f"slip {key}"] = slipped(text, rng)
    found = {(one.one, one.two) for one in alike(planted, chosen, Thresholds())}
    shares = {name: np.mean([(f"{name} {key}", key) in found for key in chosen]) for name in ("same", "order", "slip")}
    assert shares["same"] == shares["order"] == 1.0
    assert shares["slip"] >= 0.9
    wrong = {pair for pair in found if words_of_query(planted[pair[0]]) != words_of_query(chosen[pair[1]])}
    own = {pair for pair in wrong if pair[0].split(" ", 1)[1] == pair[1]}
    assert len(wrong - own) <= 0.05 * len(planted)


@pytest.mark.parametrize(
    ("one", "two", "kind"),
    [
        ("oak desk", "Oak-Desk", "same words"),
        ("lap top sleeve", "laptop sleeve", "same words"),
        ("desk made of oak", "oak desk made of", "other order"),
        ("15.6inch sleeve", "sleeve 15.6 inch", "other order"),
        ("kettle steel", "steel ketlte", "slip"),
        ("waterproof running jacket for women with hood and pockets",
         "waterproof running jackets for women with a hood and pockets", "near"),
        ("13 inch laptop sleeve", "15 inch laptop sleeve", None),
        ("red lamp", "bed lamp", None),
        ("oak desk", "pine desk", None),
        ("???", "!!!", "same words"),
    ],
)  # fmt: skip
def test_each_step_by_name(one: str, two: str, kind: str | None) -> None:
    found = alike({"a": one}, {"b": two}, Thresholds())
    assert [likeness.kind for likeness in found] == ([] if kind is None else [kind])


def test_meaning_is_the_encoders_and_other_numbers_are_other_queries() -> None:
    def encode(texts):
        return np.array([[1.0, 0.0] if "so" in text or "couch" in text else [0.0, 1.0] for text in texts], np.float32)

    first = {"a": "couch", "b": "2 sofas", "c": "lamp"}
    found = alike(first, {"x": "sofa bed", "y": "3 couches"}, Thresholds(), encode)
    assert [(one.one, one.two, one.kind, one.value) for one in found] == [("a", "x", "meaning", 1.0)]
    assert alike({}, {}, Thresholds(), encode) == []


def test_a_slip_is_one_letter_of_a_longer_word() -> None:
    assert all(is_slip(one, "kettle") for one in ("kettel", "ketle", "kettlle", "kattle", "kettles"))
    assert not any(is_slip(one, "kettle") for one in ("kettle", "kettless", "tekttle", "cattle "))
    assert not is_slip("2024", "2025")
