"""Reports: from scores to figures, slices and files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset, Distribution, Judgment
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, Evaluation, difference, evaluate, save_json
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.tables import ranking_table

Damage = Callable[[dict[str, Any]], None]

# q is ranked right, r is not.
HAND_SCORES = Distribution(np.eye(11)[[9, 1, 6, 5]])


def test_report_by_hand(by_hand):
    report = evaluate("hand", by_hand, HAND_SCORES)
    assert (report.name, report.queries, report.pairs) == ("hand", 2, 4)
    assert report.query_ids == ("q", "r")
    assert report.per_query["nDCG@1"].tolist() == [1.0, 0.5]
    assert report.per_query["MRR(rel>=0.8)"].tolist() == [1.0, 0.5]
    assert report.ranking["nDCG@1"].mean == 0.75
    second = (0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3))
    assert report.ranking["nDCG@10"].mean == pytest.approx((1 + second) / 2)
    # RPS of a sure prediction is its distance to the label: q: (½(0.1 + 0.1) + 0.1) / 2, r: (0.1 + 0.5) / 2.
    assert report.per_query[RPS].tolist() == pytest.approx([0.1, 0.3])
    assert report.calibration is not None
    assert report.calibration[RPS].mean == pytest.approx(0.2)
    assert report.calibration[MSE].mean == pytest.approx(((0.1**2 + 0.1**2) / 2 + (0.1**2 + 0.5**2) / 2) / 2)
    assert report.calibration[ECE].mean == pytest.approx((0.1 + 0.1 + 0.1 + 0.5) / 4)


def test_slices_by_hand(by_hand):
    slices = evaluate("hand", by_hand, HAND_SCORES).slices
    assert list(slices) == ["gift", "typo"]
    assert slices["typo"].queries == 1
    assert slices["typo"].measures["nDCG@1"].to_json() == [0.5, 0.5, 0.5]
    assert slices["typo"].measures[RPS].mean == pytest.approx(0.3)


def test_json_round_trip(tmp_path, judged, noisy):
    report = evaluate("model", judged, noisy)
    report.save(tmp_path / "report.json")
    again = Evaluation.load(tmp_path / "report.json")
    assert again.to_json() == report.to_json()
    assert difference(report, again)["nDCG@10"].mean == pytest.approx(0, abs=1e-6)
    row = json.loads((tmp_path / "report.json").read_text())
    assert row["ranking"]["nDCG@10"] == pytest.approx(report.ranking["nDCG@10"].to_json(), abs=1e-6)
    assert set(row["measures"]) == {*row["ranking"], RPS, MSE, ECE}
    assert row["data"] == judged.fingerprint
    assert sum(one["pairs"] for one in row["reliability"]) == report.pairs


def test_undefined_values_survive_json(tmp_path, by_hand):
    none = Dataset(
        by_hand.products,
        by_hand.queries,
        (Judgment(query_id="q", product_id="a", relevance=0.0), *by_hand.judgments[2:]),
    )
    report = evaluate("x", none, [1.0, 2.0, 3.0])
    assert math.isnan(report.per_query["nDCG@1"][0])
    assert report.queries == 2
    report.save(tmp_path / "report.json")
    assert "NaN" not in (tmp_path / "report.json").read_text()
    assert math.isnan(Evaluation.load(tmp_path / "report.json").per_query["nDCG@1"][0])
    assert report.slices["typo"].measures["nDCG@1"].mean == report.ranking["nDCG@1"].mean


def test_measures_that_no_query_defines_are_absent(by_hand):
    nothing = Dataset(
        by_hand.products, by_hand.queries, tuple(Judgment(query_id=q, product_id="a", relevance=0.0) for q in "qr")
    )
    report = evaluate("x", nothing, Distribution(np.eye(11)[[0, 0]]))
    assert report.ranking == {}
    assert report.calibration is not None
    assert report.calibration[RPS].mean == 0
    assert list(difference(report, report)) == [RPS, MSE]
    assert ranking_table([report]).names == [["System", "x"]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("\u00ff\u00fe", "is not valid JSON"),
        ("{}", "not an evaluation, or damaged: name is missing"),
        ("[]", "not an evaluation, or damaged: the file: a JSON object"),
        ('{"name": "x", "slices": 3}', "not an evaluation, or damaged: data is missing"),
    ],
)
def test_a_file_that_is_no_report(tmp_path, content, reason):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(BadInput, match=rf"report\.json: {reason}"):
        Evaluation.load(tmp_path / "report.json")


def test_a_report_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        Evaluation.load(tmp_path / "none.json")


def test_differences_are_paired(judged, noisy):
    a = evaluate("a", judged, noisy)
    b = evaluate("b", judged, bm25_scores(judged))
    found = difference(a, b)
    assert list(found) == list(b.per_query)
    assert found["nDCG@10"].mean == pytest.approx(a.ranking["nDCG@10"].mean - b.ranking["nDCG@10"].mean)
    assert difference(b, a)["nDCG@10"].mean == pytest.approx(-found["nDCG@10"].mean)


def test_other_data_cannot_be_compared(tiny_shop, judged, noisy):
    train = tiny_shop.of("train")
    with pytest.raises(BadInput, match="'a' and 'b' were evaluated on different data"):
        difference(evaluate("a", judged, noisy), evaluate("b", train, random_scores(train)))


@pytest.mark.parametrize(
    ("scores", "reason"),
    [([1.0], "4 judgments need as many scores"), ([1.0, 2.0, math.nan, 4.0], "NaN"), (HAND_SCORES[:3], "4 judgments")],
)
def test_refused_scores(by_hand, scores, reason):
    with pytest.raises(BadInput, match=reason):
        evaluate("x", by_hand, scores)


def test_no_judgments(by_hand):
    with pytest.raises(BadInput, match="no judgments"):
        evaluate("x", by_hand.of("train"), [])


def test_a_report_is_whole_or_not_there(monkeypatch, tmp_path):
    save_json(tmp_path / "e.json", {"a": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        save_json(tmp_path / "e.json", {"a": 2})
    assert json.loads((tmp_path / "e.json").read_text()) == {"a": 1}


def test_values_of_queries_are_saved_as_they_are_and_belong_to_queries(judged, noisy):
    report = evaluate("x", judged, noisy)
    saved = json.loads(json.dumps(report.to_json()))
    assert np.array_equal(Evaluation.from_json(saved).per_query[RPS], report.per_query[RPS])
    saved["per_query"][RPS].pop()
    with pytest.raises(BadInput, match="not one value a query"):
        Evaluation.from_json(saved)


def _without(field: str, *more: str) -> Damage:
    def damage(row: dict[str, Any]) -> None:
        for name in (field, *more)[:-1]:
            row = row[name]
        del row[(field, *more)[-1]]

    return damage


def _with(value: object, *place: str | int) -> Damage:
    def damage(row: Any) -> None:
        for name in place[:-1]:
            row = row[name]
        row[place[-1]] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without("per_query"), "per_query is missing"),
        (_without("per_query", "nDCG@5"), "per_query has no values of nDCG@5"),
        (_without("ranking", "nDCG@5"), "ranking has no values of nDCG@5"),
        (_without("calibration", MSE), "calibration has no values of MSE"),
        (_with(math.nan, "per_query", "nDCG@5", 0), r"per_query\.nDCG@5\[0\]: a finite number is needed, not nan"),
        (_with(math.inf, "per_query", "nDCG@5", 1), r"per_query\.nDCG@5\[1\]: .* is needed, not inf"),
        (_with(-math.inf, "ranking", "nDCG@5", 1), r"ranking\.nDCG@5\[1\]: .* is needed, not -inf"),
        (_with("0.5", "per_query", "nDCG@5", 0), r"per_query\.nDCG@5\[0\]: a valid number is needed, not '0\.5'"),
        (_with(True, "per_query", "nDCG@5", 0), r"per_query\.nDCG@5\[0\]: a valid number is needed, not True"),
        (_with(17.3, "per_query", "nDCG@5", 0), r"per_query\.nDCG@5\[0\]: less than or equal to 1.* not 17\.3"),
        (_with([], "per_query", "nDCG@5"), "per_query has not one value a query for nDCG@5"),
        (_with(3, "per_query"), "per_query: a JSON object is needed, not 3"),
        (_with(None, "slices", "colour"), r"slices\.colour: a JSON object is needed, not None"),
        (_with([1], "reliability"), r"reliability\[0\]: a JSON object is needed, not 1"),
        (_with([None] * 8, "per_query", "nDCG@5"), "per_query has no values of nDCG@5"),
        (_with([0.5], "per_query", "P@3"), "per_query has not one value a query for P@3"),
        (_with([0.5] * 8, "per_query", "P@3"), "per_query has a measure 'P@3', which is not known"),
        (_with([0.5, 0.4, 0.6], "ranking", "P@3"), "ranking has a measure 'P@3', which is not known"),
        (_with([0.5, 0.4], "ranking", "nDCG@5"), r"ranking\.nDCG@5: .*at least 3 items.* is needed"),
        (_with([0.5, 0.4, 0.6], "slices", "colour", "P@3"), "slices has a measure 'P@3'"),
        (_with("x", "slices", "colour", "nDCG@5"), r"slices\.colour\.nDCG@5: a valid list is needed"),
        (_with(7.5, "pairs"), "pairs: a valid integer is needed, not 7.5"),
        (_with(9, "queries"), "query_ids are not the ids of 9 queries, each once"),
        (_with("q16", "query_ids", 1), "query_ids are not the ids of 8 queries, each once"),
        (_with([{"low": 0.0}], "reliability"), r"reliability\[0\]\.high is missing"),
        (_with([None], "unranked", "all_alike"), r"unranked\.all_alike\[0\]: a valid string is needed"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named_with_the_file(tmp_path, judged, noisy, damage, reason):
    row = evaluate("x", judged, noisy).to_json()
    assert row["query_ids"][0] == "q16"
    damage(row)
    (tmp_path / "report.json").write_text(json.dumps(row))
    with pytest.raises(BadInput, match=rf"report\.json: not an evaluation, or damaged: {reason}"):
        Evaluation.load(tmp_path / "report.json")


@pytest.mark.parametrize("content", ["[1]", "3", "null", '"x"'])
def test_a_file_of_another_shape_names_no_class_of_ours(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(BadInput, match=r"damaged: the file: a JSON object is needed, not ") as refused:
        Evaluation.load(tmp_path / "report.json")
    assert "Saved" not in str(refused.value)
