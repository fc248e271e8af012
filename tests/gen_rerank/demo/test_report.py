import re

import numpy as np
import pytest

from gen_rerank import Distribution
from gen_rerank.demo.report import example_rows, write_report
from gen_rerank.evaluation.evaluation import difference, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.reporting.numbers import bars


@pytest.fixture
def judged(tiny_shop):
    return tiny_shop.of("test")


@pytest.fixture
def scored(judged):
    rng = np.random.default_rng(0)
    return Distribution.from_logits(rng.normal(size=(len(judged.judgments), 11)))


def test_bars_are_as_tall_as_the_probabilities():
    assert bars([0.0] * 9 + [0.25, 0.5]) == "         ▄█"
    assert bars([0.0] * 11) == " " * 11


def test_an_example_lists_the_best_scored_candidates(judged, scored):
    query_id = next(iter(judged.queries))
    rows = example_rows(judged, scored, query_id, {"exact": 0.9, "close": 0.0})
    assert {row.tier for row in rows} <= {"exact", "close"}
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    grades = {row.product_id: row.relevance for row in judged.judgments if row.query_id == query_id}
    assert all(grades[row.product.product_id] == row.relevance for row in rows)


def test_the_report_is_one_file_that_asks_for_nothing_else(judged, scored, tmp_path):
    random, bm25 = evaluate_floors(judged)
    ours = [evaluate(name, judged, scored) for name in ("phase1", "phase2", "int8")]
    rows = {name: [i.mean, i.low, i.high] for name, i in ours[1].ranking.items()}
    compared = {name.lower(): [i.mean, i.low, i.high] for name, i in difference(ours[1], bm25).items()}
    summary = {
        "data": {"products": 64, "queries": {"train": 12, "validation": 4, "test": 8}, "fingerprint": "abc"},
        "ranking": {"phase2": {name.lower(): row for name, row in rows.items()}},
        "difference": {"phase2-bm25": compared, "int8-phase2": compared},
        "slices": {"<b>": {"queries": 3, "bm25": 0.9, "phase2": 0.5}},
        "parity": {"max_abs_score_difference": 0.01, "kendall_tau": 0.99},
        "serving": {
            "pairs_per_second": 10.0,
            "without_good_products": {
                "query": "oak <desk>",
                "documents": 7,
                "no_good_match": True,
                "results": [{"tier": "irrelevant", "relevance_score": 0.25}],
            },
        },
        "tiers": {
            "phase2": {
                "exact": {
                    "threshold": 0.75,
                    "wrong": [0.03, 0.02, 0.04],
                    "missed": None,
                    "shows_nothing": [0.1, 0.0, 0.2],
                    "promise": {"promise": "exact: wrong <= 5%", "kept": False},
                    "broken": False,
                },
                "close": {
                    "threshold": 0.5,
                    "wrong": [0, 0, 0],
                    "missed": [0.2, 0.15, 0.25],
                    "shows_nothing": [0, 0, 0],
                    "promise": {"promise": "close: missed <= 10%", "kept": True},
                    "broken": True,
                },
            }
        },
        "search": {
            "query": "oak <desk>",
            "results": [
                {"title": "Oak desk", "score": 0.9, "std": 0.1, "tier": "exact", "retrieved": {"title": 2, "full": 7}}
            ],
            "seconds": {"retrieve": 0.002, "rerank": 0.4},
            "candidates": 256,
        },
        "seconds": {"sample": 1.0},
    }
    path = tmp_path / "report.html"
    begins = {"exact": 0.9, "close": 0.0}
    write_report(path, [random, bm25, *ours], summary, judged, scored, list(judged.queries)[:3], begins)
    page = path.read_text()
    assert not re.search(r"(src|href)=|url\(|@import|http", page)
    assert page.count(">Reliability of ") == 3
    assert page.count('aria-label="distribution"') == 18
    assert "&lt;b&gt;" in page
    assert "“oak &lt;desk&gt;”" in page
    assert "title 2, full 7" in page
    assert 'class="lost"' in page
    assert "exact: wrong &lt;= 5% (not promised)" in page
    assert "close: missed &lt;= 10%, broken here" in page
    assert page.count(", broken here") == 1
    assert "7 products of which none is a good match" in page
    assert "no_good_match: true" in page
