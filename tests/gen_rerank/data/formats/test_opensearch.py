"""OpenSearch's judgment lists: the body that imports one, the answer that shows one, and lines for learning to rank."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.data.formats.opensearch import open_opensearch
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport

RATINGS = [
    {"query": "red dress", "ratings": [{"docId": "B07", "rating": "3.000"}, {"docId": "B08", "rating": "0.000"}]},
    {"query": "jeans", "ratings": [{"rating": 1.5, "docId": 9}]},
]
BODY = {"name": "Ours", "type": "IMPORT_JUDGMENT", "judgmentRatings": RATINGS}
SHOWN = {"took": 36, "hits": {"total": {"value": 1}, "hits": [{"_id": "b5", "_source": {"id": "b5", **BODY}}]}}
OLDER = {
    "type": "IMPORT_JUDGMENT",
    "judgmentScores": {"red dress": [{"docId": "B07", "score": "3.000"}, {"docId": "B08", "score": "0.000"}],
                       "jeans": [{"docId": 9, "score": 1.5}]},
}  # fmt: skip


def opened(path: Path, report: ImportReport | None = None) -> VoteSource:
    return open_opensearch(path, JudgmentOptions(), report or ImportReport(str(path), "opensearch"))


@pytest.mark.parametrize("value", [BODY, SHOWN, OLDER], ids=["body", "shown", "older"])
@pytest.mark.parametrize("indent", [None, 1])
def test_lists(tmp_path, value, indent):
    (tmp_path / "list.json").write_text(json.dumps(value, indent=indent))
    found = [(one.line, one.query, one.product_id, float(one.grade)) for one in opened(tmp_path / "list.json").votes]
    assert found == [(1, "red dress", "B07", 3.0), (1, "red dress", "B08", 0.0), (2, "jeans", 9, 1.5)]


def test_what_is_no_rating_is_refused(tmp_path):
    broken = {"judgmentRatings": [{"query": "a", "ratings": 3}, 7, {"query": "b", "ratings": ["x", {"docId": "1"}]}]}
    (tmp_path / "list.json").write_text(json.dumps(broken))
    report = ImportReport("list.json", "opensearch")
    (vote,) = opened(tmp_path / "list.json", report).votes
    assert (vote.product_id, vote.grade) == ("1", None)
    assert report.refused == {"query without ratings": 2, "not a rating": 1}


def test_json_without_a_list(tmp_path):
    (tmp_path / "list.json").write_text('{"query": "x"}')
    with pytest.raises(BadInput, match="has no judgmentRatings"):
        opened(tmp_path / "list.json")


def test_lines_with_queries_in_comments(tmp_path):
    (tmp_path / "list.txt").write_text(
        "# grade (0-4)\tqueryid\tdocId\ttitle\n# qid:1: rambo\n# qid:2: rocky balboa\n#\n"
        "4 qid:1 # 7555 Rambo\n3\tqid:1\t#\t1370\tRambo III\nnonsense\n0 qid:2 1:0.5 2:7 # 99\n1 qid:3 # 5 Heat\n"
    )
    report = ImportReport("list.txt", "opensearch")
    source = opened(tmp_path / "list.txt", report)
    assert str(source.scale) == "0-4"
    assert [(one.line, one.query, one.query_id, one.product_id, one.grade) for one in source.votes] == [
        (5, "rambo", None, "7555", "4"),
        (6, "rambo", None, "1370", "3"),
        (8, "rocky balboa", None, "99", "0"),
        (9, None, "3", "5", "1"),
    ]
    assert report.refused == {"not a judgment": 1}


def test_lines_with_the_query_behind_the_document(tmp_path):
    (tmp_path / "list.txt").write_text("2 qid:14 # doc1 red dress\n0 qid:14 # doc2 red dress\n")
    source = opened(tmp_path / "list.txt")
    assert source.scale is None
    assert [(one.query, one.product_id) for one in source.votes] == [("red dress", "doc1"), ("red dress", "doc2")]
