"""Evaluations as tables for people. Functions return Rich renderables; printing is left to the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.evaluation.metrics import Interval

_ABSENT = "–"


def ranking_table(evaluations: Sequence[Evaluation]) -> Table:
    """Return one row a system and one column a measure, ranking first, with 95% intervals.

    Args:
        evaluations: of the same split, in the order of the rows; floors show no calibration.
    """
    first = f": {evaluations[0].queries:,} queries, {evaluations[0].pairs:,} pairs" if evaluations else ""
    table = Table(
        title=f"Ranking and calibration{first}",
        caption="mean [95% bootstrap interval over queries]; RPS, MSE and ECE: lower is better",
    )
    table.add_column("System", no_wrap=True)
    measures = list(dict.fromkeys(name for one in evaluations for name in (*one.ranking, *(one.calibration or {}))))
    for name in measures:
        table.add_column(name, justify="right")
    for one in evaluations:
        found = {**one.ranking, **(one.calibration or {})}
        table.add_row(escape(one.name), *(_cell(found, name) for name in measures))
    return table


def slices_table(evaluations: Sequence[Evaluation], measure: str = "nDCG@10") -> Table:
    """Return one row a tag, with its number of queries, and one column a system.

    Args:
        evaluations: of the same split.
        measure: the measure shown, a ranking measure, `RPS` or `MSE`.
    """
    table = Table(title=f"{measure} by slice", caption="mean [95% bootstrap interval over queries]")
    table.add_column("Slice", no_wrap=True)
    table.add_column("Queries", justify="right")
    for one in evaluations:
        table.add_column(escape(one.name), justify="right")
    counts = {tag: row.queries for one in evaluations for tag, row in one.slices.items()}
    for tag in sorted(counts):
        cells = [_cell(one.slices[tag].measures if tag in one.slices else {}, measure) for one in evaluations]
        table.add_row(escape(tag), f"{counts[tag]:,}", *cells)
    return table


def difference_table(rows: Mapping[str, Mapping[str, Interval]], title: str = "Paired differences") -> Table:
    """Return one row a comparison and one column a measure.

    Args:
        rows: by the name of the comparison ("ours - BM25"), what `gen_rerank.evaluation.evaluation.difference` gave.
        title: of the table.
    """
    table = Table(
        title=title, caption="difference [95% paired bootstrap interval over queries]; * the interval leaves out 0"
    )
    table.add_column("Comparison", no_wrap=True)
    measures = list(dict.fromkeys(name for found in rows.values() for name in found))
    for name in measures:
        table.add_column(name, justify="right")
    for comparison, found in rows.items():
        table.add_row(escape(comparison), *(_signed(found.get(name)) for name in measures))
    return table


def reliability_table(evaluation: Evaluation) -> Table:
    """Return the reliability diagram of one system as numbers: one row a bin of the score that has pairs."""
    table = Table(
        title=f"Reliability of {escape(evaluation.name)}",
        caption="a calibrated score has the same mean score and mean relevance",
    )
    for name in ("Score", "Pairs", "Mean score", "Mean relevance", "Gap"):
        table.add_column(name, justify="right")
    for row in evaluation.reliability:
        means = (f"{row.predicted:.3f}", f"{row.observed:.3f}", f"{row.predicted - row.observed:+.3f}")
        table.add_row(f"{row.low:.1f} – {row.high:.1f}", f"{row.pairs:,}", *means)
    return table


def _cell(found: Mapping[str, Interval], name: str) -> str:
    return str(found[name]) if name in found else _ABSENT


def _signed(interval: Interval | None) -> str:
    if interval is None:
        return _ABSENT
    mark = "" if interval.low <= 0 <= interval.high else " *"
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{mark}"
