"""OpenSearch: judgment lists of its search relevance workbench (JSON), and of its learning to rank plugin (text).

Read are the body that imports a list, the answer that shows one, and lines as `4 qid:1 # 7555 Rambo` below comments
that say the queries. Written is the body that imports a list. Neither has texts of products.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.sources import is_json, json_file, text_lines
from gen_rerank.data.formats.texts import by_text
from gen_rerank.data.importing.grading import NumberScale, read_scale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.votes import Vote
from gen_rerank.errors import BadInput

_LISTS = ("judgmentRatings", "judgmentScores")
_GRADED = re.compile(r"(?P<grade>\S+)\s+qid:(?P<query>\S+)(?P<features>[^#]*)#\s*(?P<product>\S+)\s*(?P<rest>.*)")
_QUERY = re.compile(r"#\s*qid:(\S+?):\s*(\S.*)")
_SCALE = re.compile(r"#\s*grade\s*\((\S+)\)", re.IGNORECASE)


def open_opensearch(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a judgment list.

    Raises:
        BadInput: it cannot be read, or is none.
    """
    if not is_json(source):
        return _open_lines(source, report)
    lists = list(_lists(json_file(source)))
    if not lists:
        raise BadInput(f"{source}: has no {_LISTS[0]}; give the body that imports a judgment list, or one as shown")
    return VoteSource(_list_votes(source, lists, report))


def _lists(value: Any) -> Iterator[Any]:
    """Yield what lies under the names of judgment lists, however deep an answer of the search engine wraps it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _LISTS:
                yield inner
            else:
                yield from _lists(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _lists(inner)


def _list_votes(source: Path, lists: list[Any], report: ImportReport) -> Iterator[Vote]:
    file = f"{source.name} {_LISTS[0]}"
    for number, (query, ratings) in enumerate((entry for one in lists for entry in _entries(one)), start=1):
        report.count("queries")
        if not isinstance(ratings, list):
            report.refuse("query without ratings", file, number, "a query and a list of its ratings are needed")
            continue
        for rating in ratings:
            report.count("ratings")
            if not isinstance(rating, dict):
                report.refuse("not a rating", file, number, "a rating is no JSON object")
                continue
            grade = rating.get("rating", rating.get("score"))
            yield Vote(file=file, line=number, product_id=rating.get("docId"), query=query, grade=grade)


def _entries(one: Any) -> Iterator[tuple[Any, Any]]:
    """Yield queries with their ratings: of a list of objects, or of an object whose names are the queries."""
    if isinstance(one, dict):
        yield from one.items()
    elif isinstance(one, list):
        for entry in one:
            yield (entry.get("query"), entry.get("ratings")) if isinstance(entry, dict) else (None, None)


def _open_lines(source: Path, report: ImportReport) -> VoteSource:
    lines = list(text_lines(source))
    comments = [line for _, line in lines if line.startswith("#")]
    queries = {found[1]: found[2] for line in comments if (found := _QUERY.match(line))}
    scale = next((read_scale(found[1]) for line in comments if (found := _SCALE.match(line))), None)
    report.found["queries"] = f"{len(queries):,} named in comments" if queries else "named behind each document"
    return VoteSource(_line_votes(source, lines, queries, report), scale)


def _line_votes(
    source: Path, lines: list[tuple[int, str]], queries: dict[str, str], report: ImportReport
) -> Iterator[Vote]:
    for number, line in lines:
        if line.startswith("#"):
            continue
        report.count("rows")
        found = _GRADED.fullmatch(line.strip())
        if not found:
            report.refuse("not a judgment", source.name, number, "no line as in: 4 qid:1 # document")
            continue
        # Numbers of queries hold within one file; what is the same in the next is the text.
        text = queries.get(found["query"]) if queries else found["rest"]
        yield Vote(
            file=source.name,
            line=number,
            product_id=found["product"],
            query=text,
            query_id=None if text else found["query"],
            grade=found["grade"],
        )


def write_opensearch(dataset: Dataset, path: Path, scale: NumberScale, report: ImportReport) -> None:
    """Write the body with which a judgment list is imported (`PUT _plugins/_search_relevance/judgments`).

    OpenSearch tells queries apart by their text, and has one rating a document: labels are lost.

    Args:
        dataset: whose judgments.
        path: of the file; its name without the ending is the list's.
        scale: of the ratings that are written.
        report: is told what was lost.
    """
    rows = sorted(by_text(dataset, report), key=lambda pair: pair[0])
    body = {
        "name": path.stem,
        "description": f"{len(rows)} ratings on the scale {scale}",
        "type": "IMPORT_JUDGMENT",
        "judgmentRatings": [
            {
                "query": text,
                "ratings": [{"docId": row.product_id, "rating": scale.written(row.relevance)} for _, row in group],
            }
            for text, group in groupby(rows, key=lambda pair: pair[0])
        ],
    }
    path.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
