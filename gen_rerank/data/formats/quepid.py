"""Quepid: books as JSON with the votes of all raters, and ratings as CSV, with one column or with one for each rater.

A book holds what the raters saw, so that products without a catalog have a text; CSV has ids alone. Votes that are none
(unrateable, put off) are refused, and the pairs that nobody judged keep their query and product.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.formats.fields import product_fields, unread_fields, vote_columns
from gen_rerank.data.formats.judgment_table import NAME_RATERS, judgment_columns, rated, row_votes
from gen_rerank.data.formats.sources import is_json, json_file, named_rows
from gen_rerank.data.formats.texts import by_text, no_formula
from gen_rerank.data.importing.grading import NumberScale, Scale, read_scale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport, names_listed, times_listed
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.errors import BadInput

_PAIRS = "query_doc_pairs"
_RATERS = ("rater", "user_email", "user_name", "user")
_OWN = "rating"  # a column beside those of raters, for what no rater gave


def open_quepid(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a book or ratings.

    Raises:
        BadInput: it cannot be read, or is neither.
    """
    return _open_book(source, options, report) if is_json(source) else _open_ratings(source, options, report)


def _open_book(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    book = json_file(source)
    pairs = book.get(_PAIRS) if isinstance(book, dict) else None
    if not isinstance(pairs, list):
        raise BadInput(f"{source}: has no {_PAIRS}; export the book from Quepid as JSON")
    report.found["book"] = str(book.get("name") or "without a name")
    return VoteSource(_book_votes(source, pairs, options, report), _scale_of(book))


def _scale_of(book: Mapping[str, Any]) -> Scale | None:
    """Return the scale of a book's scorer, where the export has it."""
    scorer = book.get("scorer")
    grades = scorer.get("scale") if isinstance(scorer, dict) else None
    numbers = [grade for grade in grades if isinstance(grade, int | float)] if isinstance(grades, list) else []
    return read_scale(f"{min(numbers):g}-{max(numbers):g}") if len(set(numbers)) > 1 else None


def _book_votes(source: Path, pairs: list[Any], options: JudgmentOptions, report: ImportReport) -> Iterator[Vote]:
    file = f"{source.name} {_PAIRS}"
    unread: Counter[str] = Counter()
    for number, pair in enumerate(pairs, start=1):
        report.count("pairs")
        if not isinstance(pair, dict):
            report.refuse("not a pair", file, number, "not a JSON object")
            continue
        document = _document(pair.get("document_fields"))
        shown = product_fields(document, keep_rest=options.keep_rest)
        kept_whole = "title" in shown and options.keep_rest
        unread.update([] if kept_whole else unread_fields(document) if "title" in shown else document)
        shown_pair = Vote(
            file=file,
            line=number,
            product_id=pair.get("doc_id"),
            query=pair.get("query_text"),
            need=pair.get("information_need"),
            product=shown if "title" in shown else {},
        )
        given = pair.get("judgements") or []
        usable = False
        for judgement in (one for one in given if isinstance(one, dict)):
            report.count("votes")
            reason = _no_vote(judgement)
            if reason:
                report.refuse(reason, file, number, f"the vote of {_rater(judgement) or 'somebody'} is {reason}")
            else:
                usable = True
                yield replace(shown_pair, grade=judgement.get("rating"), rater=_rater(judgement))
        if not usable:
            yield replace(shown_pair, blanks=int(not given))  # what nobody judged keeps its query and product
    if unread:
        report.found["fields of documents not kept"] = times_listed(unread)


def _no_vote(judgement: Mapping[str, Any]) -> str | None:
    for key, reason in (("unrateable", "unrateable"), ("judge_later", "put off")):
        if judgement.get(key):
            return reason
    return "without a rating" if judgement.get("rating") is None else None


def _rater(judgement: Mapping[str, Any]) -> str:
    return str(next((judgement[key] for key in _RATERS if judgement.get(key)), ""))


def _document(fields: Any) -> Mapping[str, Any]:
    """Return what raters saw of a document; it is an object, or JSON text of one."""
    if isinstance(fields, str) and fields.strip():
        try:
            fields = read_json(fields.encode(errors="replace"))
        except NotJson:
            return {}
    return fields if isinstance(fields, dict) else {}


def _open_ratings(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    found = named_rows(source, report)
    raters = _rater_columns(found.names, options.columns, str(source))
    columns = vote_columns(found.names, options.columns, str(source))
    report.found["raters' columns"] = names_listed(raters) or (
        f"none, as there is a column {columns['grade']}" if "grade" in columns else "none"
    )
    if not raters:
        columns = judgment_columns(source, found, options.columns)
        return VoteSource(row_votes(found.file, found.rows, columns, options, report), if_repeated=NAME_RATERS)
    return VoteSource(_rater_votes(found.file, found.rows, columns, raters, report))


def _rater_columns(header: Sequence[str], named: Mapping[str, str], place: str) -> list[str]:
    """Return the columns that are raters: all but the query and the document, unless there is one for ratings."""
    ours = [name for name in header if name.startswith("rater ")]
    columns = vote_columns(header, named, place)
    if "query" not in columns or "product" not in columns:
        raise BadInput(f"{place}: has no columns query and docid; there are {names_listed(header)}")
    if ours or "grade" in columns:
        return ours
    return [name for name in header if name not in (columns["query"], columns["product"])]


def _rater_votes(
    file: str, rows: Iterator[FeedRow], columns: Mapping[str, str], raters: Sequence[str], report: ImportReport
) -> Iterator[Vote]:
    read = {*raters, columns["query"], columns["product"], *([columns["grade"]] if "grade" in columns else [])}
    unread: Counter[str] = Counter()
    for row in rows:
        unread.update(name for name in row.cells.keys() - read if _written(row, name))
        pair = Vote(
            file=file,
            line=row.line,
            product_id=row.cells.get(columns["product"]),
            query=row.cells.get(columns["query"]),
        )
        given = [rater for rater in raters if _written(row, rater)]
        for rater in given:
            yield replace(pair, grade=row.cells[rater], rater=rater)
        own = columns.get("grade")
        if not given and own and _written(row, own):
            yield replace(pair, grade=row.cells[own])
        elif len(given) < len(raters):
            yield replace(pair, blanks=len(raters) - len(given))
    if unread:
        report.found["columns not kept"] = times_listed(unread)


def _written(row: FeedRow, column: str) -> bool:
    value = row.cells.get(column)
    return value is not None and bool(str(value).strip())


def write_quepid(dataset: Dataset, path: Path, scale: NumberScale, report: ImportReport) -> None:
    """Write ratings as Quepid's CSV: a column for each rater where there are labels, and one for grades of nobody.

    Quepid tells queries apart by their text.

    Args:
        dataset: whose judgments.
        path: of the file.
        scale: of the grades that are written.
        report: is told what was lost.
    """
    rows = [(text, row.product_id, dict(rated(row, report))) for text, row in by_text(dataset, report)]
    raters = sorted({rater for _, _, grades in rows for rater in grades if rater}, key=int)
    columns = [""] * any("" in grades for _, _, grades in rows) + raters
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["query", "docid", *(f"rater {rater}" if rater else _OWN for rater in columns)])
        for text, product_id, grades in rows:
            cells = [scale.written(grades[rater]) if rater in grades else "" for rater in columns]
            table.writerow([no_formula(text), no_formula(product_id), *cells])
