"""TREC: qrels and topics as other tools write them, and what others read of ours."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest

from gen_rerank import BadInput, Dataset, Judgment, Product, Query
from gen_rerank.data.formats.trec import Topic, open_trec, read_topics, write_trec
from gen_rerank.data.importing.grading import number_scale
from gen_rerank.data.importing.judging import JudgmentOptions
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote

MARKED_UP = """
<top>
<num> Number: 301
<title> International
  Organized Crime
<desc> Description:
Which groups take part?
<narr> Narrative:
Name them.
</top>
<top><num>302</num><title>Polio</title></top>
"""
XML = '<topics><topic number="1"><query>oak desk</query><narrative>For work.</narrative></topic></topics>'
SHOP = Dataset(
    {key: Product(product_id=key, title=key) for key in ("p1", "p2")},
    {"q1": Query(query_id="q1", text="oak\tdesk", split="test"), "q2": Query(query_id="q2", text="lamp", split="test")},
    (
        Judgment(query_id="q1", product_id="p1", relevance=1),
        Judgment(query_id="q1", product_id="p2", relevance=0.835),
        Judgment(query_id="q2", product_id="p2", relevance=0),
    ),
)


def votes(source: Path) -> tuple[list[Vote], ImportReport]:
    report = ImportReport(str(source), "trec")
    return list(open_trec(source, JudgmentOptions(), report).votes), report


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("301\tInternational Organized Crime\r\n302\tPolio\r\n", {"301": ("International Organized Crime", None)}),
        (MARKED_UP, {"301": ("International Organized Crime", "Which groups take part? Name them.")}),
        (XML, {"1": ("oak desk", "For work.")}),
        ("<top>\n<num> 1\n<title> desk < 100 cm\n<desc> a <b>c > d\n</top>", {"1": ("desk < 100 cm", "a <b>c > d")}),
        ("<top>\n<num> 1\n<title> desk <100 cm>\n<smry> x\n</top>", {"1": ("desk <100 cm>", None)}),
        ("<topics><topic number=1><query lang='en'>desk <3</query></topic></topics>", {"1": ("desk <3", None)}),
    ],
)
def test_topics(tmp_path, text, topics):
    (tmp_path / "topics").write_bytes(text.encode())
    found = read_topics(tmp_path / "topics")
    assert {key: found[key] for key in topics} == {key: Topic(*value) for key, value in topics.items()}
    assert found.get("302", Topic("Polio")) == Topic("Polio")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("301 no tab\n", "topics:1: an id, a tab and the text"),
        ("1\ta\n1\tb\n", "topics:2: the query '1' was given before"),
        ("<top><num>1</num></top>", "has no number or no title"),
        (MARKED_UP + "<top><num>301</num><title>Cups</title></top>", "the query '301' was given before"),
        (MARKED_UP + "<top><num>303</num><title>Cups</title>", "a topic is not closed, as </top> would: <top><num>303"),
        (f"<top><num>300</num><title>Cups</title>{MARKED_UP}", "is not closed, as </top> would: <top><num>300"),
        ("<html><title>Topics</title></html>", "is markup without a topic"),
    ],
)
def test_topics_that_are_none(tmp_path, text, said):
    (tmp_path / "topics").write_text(text)
    with pytest.raises(BadInput, match=said):
        read_topics(tmp_path / "topics")


def test_qrels_with_topics_beside(tmp_path):
    (tmp_path / "topics.tsv").write_text("q1\toak desk\n")
    (tmp_path / "qrels.txt").write_text("q1 0 p1 3\nq1\t0\tp2\t-1\nq1 p3 1\nq9 Q0 p1 1\n")
    found, report = votes(tmp_path)
    assert [(one.line, one.query_id, one.query, one.product_id, one.grade) for one in found] == [
        (1, "q1", "oak desk", "p1", "3"),
        (2, "q1", "oak desk", "p2", "-1"),
        (4, "q9", None, "p1", "1"),
    ]
    assert report.refused == {"not four columns": 1}


def test_a_folder_that_does_not_say_which_file_is_which(tmp_path):
    with pytest.raises(BadInput, match="has no file with qrels in its name"):
        votes(tmp_path)
    for name in ("qrels.train", "qrels.test"):
        (tmp_path / name).write_text("q1 0 p1 3\n")
    with pytest.raises(BadInput, match=r"qrels\.test and qrels\.train may both be qrels"):
        votes(tmp_path)


def test_others_read_what_we_write(tmp_path):
    report = ImportReport("shop", "trec")
    run = {"q1": {"p1": 0.25, "p2": 0.75}, "q2": {"p2": 1e-07}}
    write_trec(SHOP, tmp_path, number_scale("0-100"), run, report)
    qrels = {
        (one.query_id, one.doc_id): one.relevance for one in ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt"))
    }
    assert qrels == {("q1", "p1"): 100, ("q1", "p2"): 84, ("q2", "p2"): 0}
    scores = [(one.query_id, one.doc_id, one.score) for one in ir_measures.read_trec_run(str(tmp_path / "run.txt"))]
    assert scores == [("q1", "p2", 0.75), ("q1", "p1", 0.25), ("q2", "p2", 1e-07)]
    assert (tmp_path / "topics.tsv").read_text() == "q1\toak desk\nq2\tlamp\n"
    assert report.changes["grades rounded"].count == 1


def test_ids_with_white_space_cannot_be_carried(tmp_path):
    data = Dataset(
        {"a b": Product(product_id="a b", title="x")},
        {"q": Query(query_id="q", text="x", split="test")},
        (Judgment(query_id="q", product_id="a b", relevance=1),),
    )
    with pytest.raises(BadInput, match="the id 'a b' has white space"):
        write_trec(data, tmp_path, number_scale("0-3"), None, ImportReport("shop", "trec"))
