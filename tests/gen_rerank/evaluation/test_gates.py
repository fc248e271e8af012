"""Gates: how they are read, and the verdict on either side of a limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gen_rerank import BadInput
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, MSE, RPS, Evaluation, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.gates import Gate
from gen_rerank.evaluation.intervals import Interval, paired
from gen_rerank.evaluation.systems import SystemNames

NAMES = SystemNames(("nano", "my-model v2"))


@pytest.fixture(scope="module")
def systems(judged, noisy) -> dict[str, Evaluation]:
    """The second model ranks the other way round."""
    models = [evaluate("nano", judged, noisy), evaluate("my-model v2", judged, noisy[::-1])]
    return {one.name: one for one in (*evaluate_floors(judged), *models)}


@pytest.mark.parametrize(
    ("text", "measure", "system", "other", "at_least", "limit"),
    [
        ("ndcg@5 of B - A >= -0.005", HEADLINE, "my-model v2", "nano", True, -0.005),
        ("  NDCG@5  OF b - a>=-5e-3 ", HEADLINE, "my-model v2", "nano", True, -0.005),
        ("nDCG@5 of My-Model v2 − BM25 >= −0.1", HEADLINE, "my-model v2", "bm25", True, -0.1),
        ("mrr of nano - random >= 0", "MRR(rel>=0.8)", "nano", "random", True, 0.0),
        ("MRR(rel>=0.8) of A >= .5", "MRR(rel>=0.8)", "nano", None, True, 0.5),
        ("map of A <= 1", "MAP(rel>=0.8)", "nano", None, False, 1.0),
        ("rps of B - A <= 0.002", RPS, "my-model v2", "nano", False, 0.002),
        ("mse of A <= 0.1", MSE, "nano", None, False, 0.1),
        ("ece of A <= 0.05", ECE, "nano", None, False, 0.05),
        ("ECE(10 bins) of A <= 0.05", ECE, "nano", None, False, 0.05),
        ("ndcg@10 of random <= 0.9", "nDCG@10", "random", None, False, 0.9),
    ],
)
def test_a_gate_is_read(text, measure, system, other, at_least, limit) -> None:
    assert Gate.parse(text, NAMES) == Gate(text.strip(), measure, system, other, at_least, limit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("ndcg@5 of B - A", "cannot be read"),
        ("ndcg@5 of B - A > 0", "cannot be read"),
        ("ndcg@5 of B - A == 0", "cannot be read"),
        ("ndcg@5 B - A >= 0", "cannot be read"),
        ("ndcg@5 of A - B - A >= 0", "cannot be read"),
        ("ndcg@5 of A >= good", "cannot be read"),
        ("ndcg@5 of A >= nan", "cannot be read"),
        ("ndcg@5 of A >= inf", "cannot be read"),
        ("ndcg@5 of A >= 0.5 or so", "cannot be read"),
        ("ndcg@7 of A >= 0.5", r"there is no measure 'ndcg@7'; there are nDCG@1, nDCG@5, "),
        ("ndcg@5 of C - A >= 0", r"there is no system 'C'; there are A \(nano\), B \(my-model v2\), random, bm25"),
        ("ndcg@5 of baseline >= 0", "there is no system 'baseline'"),
        ("rps of A - bm25 <= 0", "bm25 gives scores and no distributions, so it has no RPS"),
        ("ndcg@5 of A - A >= 0", "nano is compared with itself, which is always 0; name two systems"),
        ("ndcg@5 of nano - a >= 0", "nano is compared with itself"),
        ("rps of B - My-Model V2 <= 0", "my-model v2 is compared with itself"),
        ("ndcg@5 of bm25 - BM25 >= 0", "bm25 is compared with itself"),
        ("ece of A - B <= 0", "no paired difference"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_scored(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        Gate.parse(text, NAMES)
    assert str(refused.value).startswith(f"--gate {text!r}: ")


def test_a_minus_may_be_part_of_a_name() -> None:
    names = SystemNames(("nano - a", "nano-b", "c - d - e"))
    for text, expected in (
        ("nano - a", ("nano - a", None)),
        ("nano - a - nano-b", ("nano - a", "nano-b")),
        ("nano-b - nano - a", ("nano-b", "nano - a")),
        ("c - d - e - bm25", ("c - d - e", "bm25")),
        ("nano-b", ("nano-b", None)),
        ("B  –  A", ("nano-b", "nano - a")),
    ):
        gate = Gate.parse(f"ndcg@5 of {text} >= 0", names)
        assert (gate.system, gate.other) == expected


def test_a_gate_that_can_be_read_in_two_ways_is_refused() -> None:
    names = SystemNames(("nano", "nano - A"))
    with pytest.raises(
        BadInput, match="'nano - A' is the name of a system, and also a difference of two; call"
    ) as said:
        Gate.parse("ndcg@5 of nano - A >= 0", names)
    assert "by their places, A, B" in str(said.value)
    twice = SystemNames(("x", "y - x", "x - y"))
    with pytest.raises(BadInput, match="has two readings"):
        Gate.parse("ndcg@5 of x - y - x >= 0", twice)
    assert Gate.parse("ndcg@5 of C - A >= 0", twice).system == "x - y"


@pytest.mark.parametrize("written", ["B-A", "B -A", "B- A", "b−a"])
def test_a_minus_without_spaces_is_told_of_them(written: str) -> None:
    said = "there is no system .*; a minus between two systems has a space on either side: [Bb] - [Aa]$"
    with pytest.raises(BadInput, match=said):
        Gate.parse(f"ndcg@5 of {written} >= 0", NAMES)


def test_a_measure_that_a_baseline_lacks(systems) -> None:
    floor = replace(systems["bm25"], name="baseline")
    names = SystemNames(("nano",), baseline=True)
    assert Gate.parse("ndcg@5 of A - baseline >= 0", names, floor).other == "baseline"
    with pytest.raises(BadInput, match="the baseline was saved without RPS"):
        Gate.parse("rps of A - baseline <= 0", names, floor)


def verdict(text: str, systems: dict[str, Evaluation]):
    return Gate.parse(text, NAMES).judge(systems, {})


def test_the_worse_end_of_the_interval_decides(systems) -> None:
    worse = paired(systems["my-model v2"].per_query[HEADLINE], systems["nano"].per_query[HEADLINE])
    assert worse.low < worse.mean < worse.high < 0
    for at, passed in ((worse.low - 1e-6, True), (worse.low + 1e-6, False)):
        found = verdict(f"ndcg@5 of B - A >= {at:.9f}", systems)
        assert found.passed is passed
        assert found.measured == f"{worse.mean:+.4f} [{worse.low:+.4f}, {worse.high:+.4f}]"
        assert ("the mean would pass" in found.meaning) is not passed
    for at, passed in ((worse.high + 1e-6, True), (worse.high - 1e-6, False)):
        assert verdict(f"ndcg@5 of B - A <= {at:.9f}", systems).passed is passed
    assert "mean would pass" not in verdict("ndcg@5 of B - A >= 0", systems).meaning
    assert verdict("ndcg@5 of B - A >= 0", systems | {"my-model v2": systems["nano"]}).passed


def test_one_system_has_its_own_interval(systems) -> None:
    for measure, found in (("ndcg@5", systems["nano"].ranking[HEADLINE]), ("ece", systems["nano"].calibrated[ECE])):
        assert verdict(f"{measure} of A >= {found.low - 1e-6:.9f}", systems).passed
        assert not verdict(f"{measure} of A >= {found.low + 1e-6:.9f}", systems).passed
        assert verdict(f"{measure} of A <= {found.high + 1e-6:.9f}", systems).passed
    shown = verdict("ndcg@5 of A >= 0.8", systems)
    assert shown.limit == "lower end at least 0.8"
    assert shown.meaning.startswith("95% interval over 8 queries")


def test_few_queries_and_an_undefined_measure_are_not_judged(by_hand) -> None:
    few = evaluate("nano", by_hand, [0.9, 0.1, 0.2, 0.8])
    found = Gate.parse("ndcg@5 of A >= 0", SystemNames(("nano",))).judge({"nano": few}, {})
    assert found.passed is None
    assert "nDCG@5 in 2 queries, and at least 5 are needed" in found.meaning
    undefined = replace(few, ranking={}, per_query={HEADLINE: np.full(2, np.nan)})
    names = SystemNames(("nano", "small"))
    for text in ("ndcg@5 of A >= 0", "ndcg@5 of A - B >= 0"):
        found = Gate.parse(text, names).judge({"nano": undefined, "small": undefined}, {})
        assert (found.passed, found.measured) == (None, "not measured")
        assert "nDCG@5 in 0 queries" in found.meaning


def test_queries_in_which_no_order_is_better_decide_nothing(systems) -> None:
    for text in ("ndcg@5 of B - A <= 0", "ndcg@5 of A >= 0"):
        assert Gate.parse(text, NAMES).judge(systems, {HEADLINE: 5}).passed
        found = Gate.parse(text, NAMES).judge(systems, {HEADLINE: 4})
        assert found.passed is None
        assert "systems can differ in nDCG@5 in 4 queries, and at least 5 are needed" in found.meaning
    assert Gate.parse("rps of A >= 0", NAMES).judge(systems, {HEADLINE: 0}).passed


def test_no_sign_stands_before_a_zero(systems) -> None:
    twice = systems | {"my-model v2": systems["nano"]}
    assert verdict("ndcg@5 of B - A >= 0", twice).measured == "0.0000 [0.0000, 0.0000]"
    assert Interval(0.0, 0.0, 0.0) == paired(*[systems["nano"].per_query[HEADLINE]] * 2)
