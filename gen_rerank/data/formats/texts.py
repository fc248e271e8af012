"""Judgments under the text of their query, for formats that have no ids of queries; and cells that are no formulas."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.importing.gathering import collapsed
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.records import Judgment

_FORMULA = tuple("-=+@")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)


def no_formula(cell: str) -> str:
    """Return a cell of CSV that no spreadsheet takes for a formula: with a space before it, which imports take away.

    Example:
        >>> no_formula("=1+1"), no_formula("-5"), no_formula("oak desk")
        (' =1+1', '-5', 'oak desk')
    """
    return f" {cell}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell


def by_text(dataset: Dataset, report: ImportReport) -> Iterator[tuple[str, Judgment]]:
    """Yield each judgment with its query's text, white space collapsed.

    Of two queries with one text, the first one's judgment of a product is taken; the report is told of the others.

    Args:
        dataset: whose judgments.
        report: is told what such a format cannot hold.
    """
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(dataset.judgments, start=1):
        text = collapsed(dataset.queries[row.query_id].text)
        if (text, row.product_id) in seen:
            reason = f"{row.query_id} × {row.product_id}: another query with this text has a judgment of the product"
            report.refuse("query with the same text", "judgments", number, reason)
            continue
        seen.add((text, row.product_id))
        yield text, row
