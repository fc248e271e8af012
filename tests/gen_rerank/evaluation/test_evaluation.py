"""Reports: from scores to figures, slices, files and tables."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from gen_rerank import BadInput, Dataset, Distribution, Judgment, Product, Query
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.scores import read_scores, write_scores
from gen_rerank.evaluation.tables import difference_table, ranking_table, reliability_table, slices_table


@pytest.fixture(scope="module")
def by_hand() -> Dataset:
    """Two queries with two products each; one is tagged."""
    products = {key: Product(product_id=key, title=title) for key, title in (("a", "oak desk"), ("b", "red lamp"))}
    queries = {
        "q": Query(query_id="q", text="desk", split="test"),
        "r": Query(query_id="r", text="lamp", split="test", tags=("typo", "gift")),
    }
    rows = [("q", "a", 1.0, (1.0, 0.8)), ("q", "b", 0.0, ()), ("r", "a", 0.5, ()), ("r", "b", 1.0, ())]
    return Dataset(
        products, queries, tuple(Judgment(query_id=q, product_id=p, relevance=x, labels=y) for q, p, x, y in rows)
    )


# q is ranked right, r is not.
HAND_SCORES = Distribution(np.eye(11)[[9, 1, 6, 5]])


@pytest.fixture(scope="module")
def judged(tiny_shop) -> Dataset:
    return tiny_shop.of("test")


@pytest.fixture(scope="module")
def noisy(judged) -> Distribution:
    """What a fair model could say: the truth with noise."""
    rng = np.random.default_rng(0)
    gold = np.array([row.relevance for row in judged.judgments])
    centre = np.clip(gold + rng.normal(0, 0.1, len(gold)), 0, 1)[:, None]
    return Distribution.from_logits(-(((np.linspace(0, 1, 11)[None] - centre) / 0.15) ** 2))


def shown(table) -> str:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table)
    return console.export_text()


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


def test_floors_have_no_calibration(by_hand):
    report = evaluate("floor", by_hand, [4.0, -3.0, 1.0, 2.0])
    assert report.calibration is None
    assert report.reliability == ()
    assert RPS not in report.per_query
    assert report.ranking["nDCG@10"].mean == 1.0
    assert RPS not in report.slices["typo"].measures


def test_random_is_below_bm25_and_bm25_below_the_truth(judged, noisy):
    floor, bm25, model = (
        evaluate(name, judged, scores)
        for name, scores in (("random", random_scores(judged)), ("bm25", bm25_scores(judged)), ("model", noisy))
    )
    assert floor.ranking["nDCG@10"].mean < bm25.ranking["nDCG@10"].mean < model.ranking["nDCG@10"].mean
    assert difference(model, floor)["nDCG@10"].low > 0
    assert evaluate("random", judged, random_scores(judged)).to_json() == floor.to_json()
    assert random_scores(judged, 1).tolist() != random_scores(judged).tolist()


def test_bm25_scores_are_those_of_the_pairs(judged):
    scores = dict(zip([(row.query_id, row.product_id) for row in judged.judgments], bm25_scores(judged), strict=True))
    for query_id, rows in judged.by_query().items():
        both_words = {row.product_id for row in rows if row.relevance == 1.0}
        found = {row.product_id: scores[query_id, row.product_id] for row in rows}
        assert max(found, key=found.__getitem__) in both_words


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
    assert "x" in shown(ranking_table([report]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("{}", "not an evaluation: KeyError"),
        ("[]", "not an evaluation"),
        ('{"slices": 3}', "not an evaluation"),
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


def test_scores_file_round_trip(tmp_path, judged, noisy):
    write_scores(tmp_path / "scores.jsonl", judged, noisy)
    found = read_scores(tmp_path / "scores.jsonl")
    assert found.pairs == tuple((row.query_id, row.product_id) for row in judged.judgments)
    assert np.abs(found.of(judged).probabilities - noisy.probabilities).max() < 2e-6
    row = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    assert list(row) == ["query_id", "product_id", "score", "std", "probabilities"]
    assert row["score"] == pytest.approx(float(noisy.mean[0]), abs=1e-6)
    assert row["std"] == pytest.approx(float(noisy.std[0]), abs=1e-6)
    shuffled = Dataset(judged.products, judged.queries, judged.judgments[::-1])
    assert np.allclose(found.of(shuffled).mean, noisy.mean[::-1], atol=1e-5)


def test_scores_of_other_pairs(tmp_path, by_hand, judged):
    write_scores(tmp_path / "scores.jsonl", by_hand, HAND_SCORES)
    with pytest.raises(BadInput, match=r"no score for the judged pair q16 × p\w+ \(and \d+ more\)"):
        read_scores(tmp_path / "scores.jsonl").of(judged)


def test_one_distribution_a_judgment(tmp_path, by_hand):
    with pytest.raises(BadInput, match="4 judgments need as many distributions, not 2"):
        write_scores(tmp_path / "scores.jsonl", by_hand, HAND_SCORES[:2])


GOOD = {"query_id": "q", "product_id": "a", "score": 1.0, "std": 0.0, "probabilities": [0.0] * 10 + [1.0]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", r"scores\.jsonl:2: Invalid JSON"),
        ({**GOOD, "product_id": "b", "probabilities": [1.0]}, r"scores\.jsonl:2: probabilities: .*at least 11"),
        ({**GOOD, "product_id": "b", "extra": 1}, r"scores\.jsonl:2: extra"),
        ({"query_id": "q"}, r"scores\.jsonl:2: product_id: Field required"),
        (GOOD, r"scores\.jsonl:2: the pair q × a was already given"),
        ({**GOOD, "product_id": "b", "probabilities": [0.5] + [0.0] * 10}, r"scores\.jsonl: probabilities sum to 0.5"),
    ],
)
def test_a_bad_scores_file(tmp_path, row, reason):
    text = row if isinstance(row, str) else json.dumps(row)
    (tmp_path / "scores.jsonl").write_text(json.dumps(GOOD) + "\n" + text + "\n")
    with pytest.raises(BadInput, match=reason):
        read_scores(tmp_path / "scores.jsonl")


def test_missing_and_empty_scores_files(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_scores(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(BadInput, match="no scores"):
        read_scores(tmp_path / "empty.jsonl")


def test_tables(judged, noisy):
    floor = evaluate("a floor [red]", judged, random_scores(judged))
    model = evaluate("model", judged, noisy)
    ranking = shown(ranking_table([floor, model]))
    assert "a floor [red]" in ranking  # names are text, not markup
    assert str(model.ranking["nDCG@10"]) in ranking
    assert "8 queries, 120 pairs" in ranking
    assert all(name in ranking for name in (*model.ranking, RPS, MSE, ECE))
    slices = shown(slices_table([floor, model]))
    assert "colour" in slices
    assert str(model.slices["colour"].measures["nDCG@10"]) in slices
    assert str(model.slices["colour"].measures[RPS]) in shown(slices_table([floor, model], RPS))
    assert f"{model.reliability[0].pairs:,}" in shown(reliability_table(model))
    differences = shown(difference_table({"model - floor": difference(model, floor)}))
    assert "model - floor" in differences
    assert "*" in differences
    assert "Ranking" in shown(ranking_table([]))
