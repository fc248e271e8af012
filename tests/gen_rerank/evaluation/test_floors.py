"""Random order and BM25: what they score, and that they are floors."""

from __future__ import annotations

from gen_rerank.evaluation.evaluation import RPS, difference, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores


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
