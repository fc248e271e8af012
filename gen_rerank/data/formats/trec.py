"""TREC: topics, qrels and runs, as trec_eval and its many relatives read them.

Topics are a table of ids and texts, or TREC's own markup, whose description and narrative are the information need.
Qrels hold whole grades, and ids without white space. Products' texts are in neither; the catalog has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.runs import Run
from gen_rerank.data.formats.sources import text_lines
from gen_rerank.data.importing.gathering import collapsed
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.errors import BadInput

TOPICS, QRELS, RUN = "topics.tsv", "qrels.txt", "run.txt"
_TOPIC_WORDS, _QREL_WORDS = ("topic", "quer"), ("qrel",)
_TOP = re.compile(r"<top(?:ic)?\b([^>]*)>", re.IGNORECASE)
_TOP_END = re.compile(r"</top(?:ic)?\s*>", re.IGNORECASE)
_NUMBER = re.compile(r"number\s*=\s*[\"']?([^\s\"'>]+)")
# A field ends where another begins, or where it is closed; "<" alone is text.
_FIELD_END = r"</[a-z]|<(?:num|title|query|topic|desc|narr|question)[a-z]*\b[^<>]*>|^\s*<[a-z][^<>]*>|\Z"
_FIELD = rf"<{{}}\b[^<>]*>\s*(?:{{}}\s*:)?(.*?)(?={_FIELD_END})"
_COLUMNS = 4


@dataclass(frozen=True)
class Topic:
    """A query: its text, and what somebody with it wants."""

    text: str
    need: str | None = None


def open_trec(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open qrels, with the topics beside them.

    Args:
        source: a folder with a file of topics and one of qrels; or qrels alone, of queries that the data folder has.
        options: nothing of it is asked here.
        report: is told which files are read.

    Raises:
        BadInput: a file is missing, there are several of one kind, or it cannot be read.
    """
    qrels = _one(source, _QREL_WORDS, "qrels") if source.is_dir() else source
    topics_file = _one(source, _TOPIC_WORDS, "topics") if source.is_dir() else None
    topics = read_topics(topics_file) if topics_file else {}
    if qrels is None:
        raise BadInput(f"{source}: has no file with qrels in its name")
    report.found["qrels"] = qrels.name
    report.found["topics"] = (
        f"{topics_file.name}, {len(topics):,}" if topics_file else "none, queries of the data folder"
    )
    return VoteSource(_votes(qrels, topics, report))


def _one(folder: Path, words: tuple[str, ...], what: str) -> Path | None:
    found = sorted(file for file in folder.iterdir() if file.is_file() and any(w in file.name.lower() for w in words))
    if len(found) > 1:
        raise BadInput(f"{folder}: {' and '.join(file.name for file in found)} may both be {what}; leave one there")
    return found[0] if found else None


def _votes(qrels: Path, topics: Mapping[str, Topic], report: ImportReport) -> Iterator[Vote]:
    for number, line in text_lines(qrels):
        report.count("rows")
        columns = line.split()
        if len(columns) != _COLUMNS:
            reason = f"{len(columns)} columns, not query, iteration, document and grade"
            report.refuse("not four columns", qrels.name, number, reason)
            continue
        query_id, _, product_id, grade = columns
        topic = topics.get(query_id, Topic(""))
        yield Vote(
            file=qrels.name,
            line=number,
            product_id=product_id,
            query=topic.text or None,
            query_id=query_id,
            grade=grade,
            need=topic.need,
        )


def read_topics(path: Path) -> dict[str, Topic]:
    """Read topics, as a table of ids and texts parted by a tab, or in TREC's markup.

    Raises:
        BadInput: the file cannot be read, a line has no tab, or a topic no number or no text.
    """
    lines = list(text_lines(path))
    if lines[0][1].lstrip().startswith("<"):
        return _marked_up(path, "\n".join(line for _, line in lines))
    topics: dict[str, Topic] = {}
    for number, line in lines:
        query_id, tab, text = line.partition("\t")
        if not tab or not query_id.strip() or not text.strip():
            raise BadInput(f"{path}:{number}: an id, a tab and the text of a query are needed")
        if query_id.strip() in topics:
            raise BadInput(f"{path}:{number}: the query {query_id.strip()!r} was given before")
        topics[query_id.strip()] = Topic(text.strip())
    return topics


def _marked_up(path: Path, text: str) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    beginnings = list(_TOP.finditer(text))
    if not beginnings:
        raise BadInput(f"{path}: is markup without a topic; <top> or <topic> begins one")
    for beginning, following in zip_longest(beginnings, beginnings[1:]):
        whole = text[beginning.start() : following.start() if following else len(text)]
        shown = " ".join(whole.split())[:60]
        end = _TOP_END.search(whole)
        if end is None:
            raise BadInput(f"{path}: a topic is not closed, as </top> would: {shown}")
        inner = whole[beginning.end() - beginning.start() : end.start()]
        number = _NUMBER.search(beginning[1])
        query_id = number[1] if number else _field(inner, "num", "number")
        title = _field(inner, "title", "topic") or _field(inner, "query", "query")
        if not query_id or not title:
            raise BadInput(f"{path}: a topic has no number or no title: {shown}")
        if query_id in topics:
            raise BadInput(f"{path}: the query {query_id!r} was given before")
        need = (_field(inner, "desc", "description"), _field(inner, "narr", "narrative"))
        topics[query_id] = Topic(title, " ".join(part for part in need if part) or None)
    return topics


def _field(text: str, name: str, word: str) -> str:
    names = {"desc": "desc(?:ription)?", "narr": "narr(?:ative)?"}
    found = re.search(_FIELD.format(names.get(name, name), word), text, re.DOTALL | re.IGNORECASE | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def write_trec(dataset: Dataset, folder: Path, scale: NumberScale, run: Run | None, report: ImportReport) -> None:
    """Write `topics.tsv`, `qrels.txt` and, where scores are given, `run.txt` into a folder.

    Qrels hold whole grades: what lies between two is rounded, and the report says how often.

    Args:
        dataset: whose queries and judgments.
        folder: an empty one.
        scale: of the grades that are written.
        run: scores by query and product.
        report: is told what was lost.

    Raises:
        BadInput: an id has white space, which these files cannot carry.
    """
    judged = dataset.by_query()
    topics = [f"{_plain(query_id)}\t{collapsed(dataset.queries[query_id].text)}" for query_id in judged]
    _write(folder / TOPICS, topics)
    grades = whole_grades(dataset, scale, report)
    _write(
        folder / QRELS,
        [f"{query_id} 0 {_plain(key)} {one}" for query_id in grades for key, one in grades[query_id].items()],
    )
    if run is not None:
        _write(folder / RUN, list(_run_lines(run)))


def whole_grades(dataset: Dataset, scale: NumberScale, report: ImportReport) -> dict[str, dict[str, int]]:
    """Return the grade of each judgment as a whole number, by query and product.

    Args:
        dataset: whose judgments.
        scale: of the grades.
        report: is told which relevance is not a whole grade, and what it became.
    """
    found: dict[str, dict[str, int]] = {}
    for row in dataset.judgments:
        grade = scale.whole(row.relevance)
        if (back := scale.relevance(grade)) != row.relevance:
            report.change("grades rounded", f"{row.query_id} × {row.product_id}", row.relevance, back)
        found.setdefault(row.query_id, {})[row.product_id] = grade
    return found


def _run_lines(run: Run) -> Iterator[str]:
    for query_id, scores in run.items():
        best_first = sorted(scores.items(), key=lambda item: -item[1])
        for rank, (product_id, score) in enumerate(best_first, start=1):
            yield f"{_plain(query_id)} Q0 {_plain(product_id)} {rank} {score!r} gen_rerank"


def _plain(identifier: str) -> str:
    if len(identifier.split()) != 1:
        raise BadInput(f"the id {identifier!r} has white space, which TREC's files cannot carry; export another format")
    return identifier


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
