"""Judgments as a table: a query, a product, a grade and perhaps a rater in each row, one row a vote or one a pair.

A row with a rater is somebody's vote; one without is what the pair is worth. CSV, TSV, JSON, Parquet
and XLSX are read alike, and the products' texts may be in the table. Written, it is CSV, and carries what no other
format does: ids of queries, splits, tags, and labels beside a relevance.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.feeds.rows import FeedRow
from gen_rerank.data.formats.fields import product_fields, unread_fields, vote_columns
from gen_rerank.data.formats.sources import NamedRows, named_rows
from gen_rerank.data.formats.texts import no_formula
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.judging import JudgmentOptions, VoteSource
from gen_rerank.data.importing.report import ImportReport, columns_said, names_listed, shown_name, times_listed
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.json_text import NotJson, read_json
from gen_rerank.data.missing import is_nothing
from gen_rerank.data.records import Judgment
from gen_rerank.data.values import BadValue, shown
from gen_rerank.errors import BadInput

NAME_RATERS = "if these are votes, name the column of raters with --map rater=COLUMN"
_TAGS = "|"
_HEADER = ("query_id", "query", "split", "tags", "product_id", "grade", "rater")


def open_judgment_table(source: Path, options: JudgmentOptions, report: ImportReport) -> VoteSource:
    """Open a table of judgments.

    Raises:
        BadInput: it cannot be read, has no rows, or no column for the query, the product or the grade.
    """
    found = named_rows(source, report)
    columns = judgment_columns(source, found, options.columns)
    report.found["columns"] = columns_said(columns)
    return VoteSource(row_votes(found.file, found.rows, columns, options, report), if_repeated=NAME_RATERS)


def judgment_columns(source: Path, rows: NamedRows, named: Mapping[str, str]) -> dict[str, str]:
    """Return which column holds what, by the names of the first rows.

    Raises:
        BadInput: there is none for the query, the product or the grade.
    """
    columns = vote_columns(rows.names, named, str(source))
    has_texts = "title" in product_fields(dict.fromkeys(rows.names), keep_rest=False)
    for needed, others in (("query", ("query_id",)), ("product", ()), ("grade", ("raters",))):
        if not {needed, *others} & set(columns) and not (needed == "product" and has_texts):
            raise BadInput(
                f"{source}: no column for the {needed}; name it with --map {needed}=COLUMN "
                f"(there are {names_listed(rows.names)})"
            )
    return columns


def row_votes(
    file: str, rows: Iterable[FeedRow], columns: Mapping[str, str], options: JudgmentOptions, report: ImportReport
) -> Iterator[Vote]:
    """Yield the votes in rows with named cells. A grade of the pair stands for raters' grades that are missing.

    Args:
        file: named in refusals.
        rows: in the order of the file.
        columns: which cell holds what; what they do not name, a later row may.
        options: whether unknown cells become attributes of the product.
        report: is told which columns say something that is not kept, and which raters' grades cannot be read.
    """
    unread: Counter[str] = Counter()
    later = LateColumns(dict(columns), report)
    for row in rows:
        columns = later.of(row)
        cells = {what: row.cells.get(column) for what, column in columns.items()}
        others = {name: value for name, value in row.cells.items() if name not in columns.values()}
        product = product_fields(others, keep_rest=options.keep_rest)
        vote = Vote(
            file=file,
            line=row.line,
            product_id=_given(cells.get("product")),
            query=cells.get("query"),
            query_id=_given(cells.get("query_id")),
            split=_given(cells.get("split")),
            tags=_tags(_given(cells.get("tags"))),
            need=_given(cells.get("need")),
            product=product if "title" in product else {},
        )
        kept_whole = vote.product and options.keep_rest
        unread.update([] if kept_whole else unread_fields(others) if vote.product else _said(others))
        own = _graded(cells.get("grade"))
        try:
            graded = raters_grades(cells.get("raters"))
        except BadValue as error:
            if own is None:
                report.refuse("raters' grades that cannot be read", file, row.line, str(error))
                continue
            place = f"{file}:{row.line} {columns['raters']}"
            report.change("raters' grades left out: they cannot be read", place, cells["raters"], "")
            graded = {}
        for rater, grade in graded.items():
            yield replace(vote, grade=grade, rater=rater)
        if not graded:
            yield replace(vote, grade=own, rater=str(_given(cells.get("rater")) or "").strip() or None)
    if unread:
        report.found["columns not kept"] = times_listed(unread)


class LateColumns:
    """Which column holds what, row by row: rows of JSON need not have the same names, and a known one may come late.

    Args:
        columns: of the first rows; they are never taken back.
        report: is told what came later, and where.
    """

    def __init__(self, columns: dict[str, str], report: ImportReport) -> None:
        self.columns = columns
        self.report = report
        self._met: set[str] = set()
        self._said: list[str] = []

    def of(self, row: FeedRow) -> Mapping[str, str]:
        """Return which cell of a row holds what."""
        if not row.cells.keys() <= self._met:
            new = [name for name in row.cells if name not in self._met and name not in self.columns.values()]
            self._met.update(row.cells)
            for what, name in vote_columns(new, {}, "").items():
                if what not in self.columns:
                    self.columns[what] = name
                    self._said.append(f"{what} ← {shown_name(name)} (from line {row.line:,} on)")
                    self.report.found["columns read from a later row on"] = ", ".join(self._said)
        return self.columns


def raters_grades(value: Any) -> dict[str, Any]:
    """Return the grades of all raters by their names, or by their numbers; empty where nobody gave one.

    Args:
        value: a list, an object, or one of these as JSON text.

    Raises:
        BadValue: it is none of these.

    Example:
        >>> raters_grades([3, None, 2]), raters_grades('{"ann": 1}'), raters_grades([None])
        ({'1': 3, '2': None, '3': 2}, {'ann': 1}, {})
    """
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        try:
            value = read_json(value.strip().encode(errors="replace"))
        except NotJson as error:
            raise BadValue(f"the raters' grades {shown(value)} are {error}") from error
    if _given(value) is None:
        return {}
    if isinstance(value, Mapping):
        grades = {str(rater).strip(): _graded(grade) for rater, grade in value.items()}
    elif isinstance(value, list):
        grades = {str(number): _graded(grade) for number, grade in enumerate(value, start=1)}
    else:
        raise BadValue(f"the raters' grades are a list or an object of names and grades, not {shown(value)}")
    return grades if any(grade is not None for grade in grades.values()) else {}


def write_judgment_table(dataset: Dataset, path: Path, scale: NumberScale, report: ImportReport) -> None:
    """Write all judgments as CSV: a row for each label of a judgment, or one row without a rater.

    Raters are numbered by the order of the labels; a relevance that is not the mean of the labels is lost.

    Args:
        dataset: whose judgments.
        path: of the file.
        scale: of the grades that are written.
        report: is told what was lost.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_HEADER)
        for row in dataset.judgments:
            query = dataset.queries[row.query_id]
            cells = (query.query_id, query.text, query.split, _TAGS.join(query.tags), row.product_id)
            head = [no_formula(cell) for cell in cells]
            table.writerows((*head, scale.written(grade), rater) for rater, grade in rated(row, report))


def rated(row: Judgment, report: ImportReport) -> list[tuple[str, float]]:
    """Return the grades of a judgment with the numbers of their raters, or its relevance without one.

    The report is told where the relevance is not the mean of the labels, and is lost with that.

    Example:
        >>> judgment = Judgment(query_id="q", product_id="p", relevance=0.5, labels=(0, 1))
        >>> rated(judgment, ImportReport("shop", "judgments"))
        [('1', 0.0), ('2', 1.0)]
    """
    if not row.labels:
        return [("", row.relevance)]
    mean = fmean(row.labels)
    if mean != row.relevance:
        place = f"{row.query_id} × {row.product_id}"
        report.change("relevance that is not the mean of the labels", place, row.relevance, mean)
    return [(str(number), grade) for number, grade in enumerate(row.labels, start=1)]


def _given(value: Any) -> Any:
    """Return a value of a cell; None where the cell is blank, or holds what programs write for nothing."""
    return None if is_nothing(value) else _graded(value)


def _graded(value: Any) -> Any:
    """Return a grade; None where the cell is blank. Whether "None" is a word of the scale, the scale knows."""
    blank = not value.strip() if isinstance(value, str) else isinstance(value, float) and math.isnan(value)
    return None if blank else value


def _said(cells: Mapping[str, Any]) -> list[str]:
    return [name for name, value in cells.items() if _given(value) is not None]


def _tags(value: Any) -> tuple[str, ...]:
    parts = value.split(_TAGS) if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(str(part).strip() for part in parts if str(part).strip())
