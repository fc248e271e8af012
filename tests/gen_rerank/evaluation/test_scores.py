"""Scores files: written, read again, refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gen_rerank import BadInput, Dataset, Distribution
from gen_rerank.evaluation.scores import read_scores, write_scores

# q is ranked right, r is not.
HAND_SCORES = Distribution(np.eye(11)[[9, 1, 6, 5]])


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
