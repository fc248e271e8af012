"""The cascade of two opened models: late, down, or asked for too much, there is an answer; and what names a cascade."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gen_rerank import BadInput, Distribution, Pair, Product
from gen_rerank.search.cascade.card import CascadeCard, LossRecord
from gen_rerank.search.cascade.models import Cascade, CascadeChoices
from gen_rerank.search.cascade.reading import Bounds, ReadingBudget
from gen_rerank.search.cascade.search import CascadeSearch
from gen_rerank.search.search import Search

KEPT = LossRecord(promise="nDCG@5: lost <= 0.005", kept=True, confidence=0.9, queries=900, observed=0.0, bound=0.004)


class Reads:
    """A scorer of numbers: each title's first digit, in tenths, said more or less surely; it calls back meanwhile."""

    def __init__(self, sharpness: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.sharpness, self.meanwhile, self.seen, self.closed = sharpness, meanwhile, 0, False
        thresholds = {"exact": 0.8, "close": 0.4}
        self.checkpoint: Any = SimpleNamespace(card=SimpleNamespace(calibration=SimpleNamespace(thresholds=thresholds)))

    def score(self, pairs: Sequence[Pair]) -> Distribution:
        self.meanwhile()
        self.seen += len(pairs)
        digits = np.array([int(pair.product.title[0]) for pair in pairs])
        return Distribution.from_logits(-self.sharpness * np.abs(digits[:, None] - np.arange(11)))

    def close(self) -> None:
        self.closed = True


def cascade(decoder: Reads, *, budget: ReadingBudget = ReadingBudget(), **card: Any) -> Cascade:  # noqa: B008
    given = {"encoder": "e", "decoder": "d", "places": 2, "low": 0.05, **card}
    return Cascade(Reads(0.5), decoder, CascadeCard(**given), budget)  # type: ignore[arg-type]


def products(digits: str = "975310") -> list[Product]:
    return [Product(product_id=f"p{place}", title=f"{digit} desk") for place, digit in enumerate(digits)]


def pairs(digits: str = "975310") -> list[Pair]:
    return [Pair("desk", product) for product in products(digits)]


def test_the_decoder_reads_what_is_undecided_and_it_is_said_who_read_what() -> None:
    decoder = Reads(9.0)
    found = cascade(decoder, low=0.3).score(pairs())
    assert (found.reading.ended, found.fault, found.degraded, found.as_calibrated) == ("settled", "", False, True)
    assert found.read_by[:2] == ["decoder", "decoder"]
    assert found.read_by[-1] == "encoder"
    assert 2 <= decoder.seen == found.read_by.count("decoder") < 6
    assert found.reading.distribution.mean[0] == pytest.approx(0.9, abs=0.01)


def test_a_decoder_that_fails_leaves_the_encoders_answer() -> None:
    def fail() -> None:
        raise RuntimeError("engine core died\nand more")

    found = cascade(Reads(9.0, fail)).score(pairs())
    assert (found.reading.ended, found.degraded, found.as_calibrated) == ("down", True, False)
    assert found.fault == "the decoder failed (engine core died)"
    assert found.read_by == ["encoder"] * 6


def test_a_decoder_that_fails_later_leaves_what_it_had_read() -> None:
    calls: list[int] = []

    def fail_at_second() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("gone")

    found = cascade(Reads(0.1, fail_at_second), batch=2).score(pairs())
    assert (found.reading.ended, found.read_by.count("decoder")) == ("down", 2)


def test_ctrl_c_is_no_fault_of_the_decoder() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cascade(Reads(9.0, interrupted)).score(pairs())


def test_a_late_decoder_is_not_waited_for_and_the_next_search_neither() -> None:
    go_on = threading.Event()
    decoder = Reads(9.0, lambda: go_on.wait(30))
    both = cascade(decoder)
    try:
        for _ in range(2):
            found = both.score(pairs(), ReadingBudget(milliseconds=100))
            assert (found.reading.ended, found.degraded) == ("late", True)
            assert found.fault == "the decoder had not answered after 100 ms"
            assert found.read_by == ["encoder"] * 6
        assert decoder.seen == 0
    finally:
        go_on.set()
    again = both.score(pairs(), ReadingBudget(milliseconds=20_000))
    assert (again.reading.ended, again.degraded) == ("settled", False)


def test_a_timeout_of_the_decoders_own_is_a_failure_and_not_lateness() -> None:
    def fail() -> None:
        raise TimeoutError("no answer from the engine")

    for budget in (ReadingBudget(), ReadingBudget(milliseconds=20_000)):
        found = cascade(Reads(9.0, fail), budget=budget).score(pairs())
        assert (found.reading.ended, found.fault) == ("down", "the decoder failed (no answer from the engine)")


def test_the_time_of_the_encoder_counts() -> None:
    decoder = Reads(9.0)
    found = cascade(decoder, budget=ReadingBudget(milliseconds=0)).score(pairs())
    assert (found.reading.ended, found.degraded, found.as_calibrated, decoder.seen) == ("milliseconds", False, False, 0)


@pytest.mark.parametrize(
    ("on_card", "asked", "read", "as_calibrated"), [(3, None, 3, True), (3, 2, 2, False), (2, 5, 2, True)]
)
def test_the_smaller_number_of_pairs_holds(on_card, asked, read, as_calibrated) -> None:
    found = cascade(Reads(0.1), low=0.0, pairs=on_card).score(pairs(), ReadingBudget(asked))
    assert (found.read_by.count("decoder"), found.reading.ended) == (read, "pairs")
    assert found.as_calibrated is as_calibrated


def test_a_search_says_who_read_each_product_and_what_is_promised() -> None:
    both = cascade(Reads(9.0), low=0.3, loss=KEPT)
    with CascadeSearch(Search(SimpleNamespace()), both) as search:  # type: ignore[arg-type]
        found = search.find("desk", k=3, among=products("135790"))
        said = found.to_json()
    assert [hit.product.title for hit in found.results] == ["9 desk", "7 desk", "5 desk"]
    assert [row["read_by"] for row in said["results"][:2]] == ["decoder", "decoder"]
    assert said["results"][0]["tier"] == "exact"
    assert said["cascade"] == {
        "ended": "settled", "degraded": False, "read_by_decoder": found.pairs, "promised": "nDCG@5: lost <= 0.005",
    }  # fmt: skip
    assert found.sentence() == f"the decoder read {found.pairs} of 6 products, and the first places are settled"
    assert both.encoder.closed  # type: ignore[attr-defined]
    assert both.decoder.closed  # type: ignore[attr-defined]


def test_a_search_whose_decoder_is_down_answers_with_a_flag_and_no_promise() -> None:
    def fail() -> None:
        raise RuntimeError("gone")

    search = CascadeSearch(Search(SimpleNamespace()), cascade(Reads(9.0, fail), loss=KEPT))  # type: ignore[arg-type]
    found = search.find("desk", among=products())
    assert [hit.product.title[0] for hit in found.results] == list("975310")
    assert found.to_json()["cascade"] == {
        "ended": "down", "degraded": True, "read_by_decoder": 0, "promised": None,
    }  # fmt: skip
    assert found.sentence().endswith(
        "the decoder read 0 of 6 products, and more is undecided: the decoder failed (gone)"
    )


def test_nothing_found_is_nothing_read() -> None:
    search = CascadeSearch(Search(SimpleNamespace()), cascade(Reads(9.0)))  # type: ignore[arg-type]
    found = search.find("desk", among=[])
    assert (found.results, found.pairs, found.sentence()) == ((), 0, "the decoder read 0 of 0 products")
    assert found.to_json()["cascade"]["ended"] == "settled"


def test_a_cascade_is_named_in_one_text() -> None:
    found = CascadeChoices.parse("encoder=runs/e, decoder=runs/d", adapter="runs/a")
    assert (found.encoder, found.decoder, found.adapter, found.bounds) == ("runs/e", "runs/d", "runs/a", None)
    found = CascadeChoices.parse("decoder=d,encoder=e,low=0.1,high=0.9,places=10,pairs=64,ms=200")
    assert (found.bounds, found.places, found.budget) == (Bounds(0.1, 0.9), 10, ReadingBudget(64, 200.0))
    assert str(CascadeChoices.parse("decoder=d,encoder=e,file=c.json").file) == "c.json"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not understood; write encoder=E,decoder=D"),
        ("encoder=e", "an encoder and a decoder are needed"),
        ("encoder=e,decoder=d,depth=5", "'depth=5' is not understood"),
        ("encoder=e,decoder=d,encoder=f", "'encoder=f' is not understood"),
        ("encoder=e,decoder=", "'decoder=' is not understood"),
        ("encoder=e,decoder=d,low=little", "'little' is no number"),
        ("encoder=e,decoder=d,low=2", "are no chances from 0 to 1"),
        ("encoder=e,decoder=d,high=0.9", "bounds are set by hand with low, or are a file's"),
        ("encoder=e,decoder=d,low=0.1,file=c.json", "bounds are set by hand with low, or are a file's"),
        ("encoder=e,decoder=d,low=0.1,places=2.5", "'2.5' is no whole number"),
        ("encoder=e,decoder=d,pairs=-1", "'-1' is no whole number"),
        ("encoder=e,decoder=d,ms=-1", "a budget of -1 milliseconds is none"),
    ],
)
def test_what_names_no_cascade_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("(", r"\(")):
        CascadeChoices.parse(text)
