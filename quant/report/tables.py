"""What the terminal shows of a comparison: the verdicts, one row a system, and the gates that did not pass."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from gen_rerank.evaluation.evaluation import HEADLINE
from quant.comparison import Comparison
from quant.report.rows import summary
from quant.report.words import mark, sentence


def tables(comparison: Comparison) -> list[Table]:
    """Return what the terminal shows: the verdicts, one row a system, and the gates that did not pass, if any.

    Example:
        >>> for table in tables(Comparison.load("runs/compare/comparison.json")):  # doctest: +SKIP
        ...     console.print(table)
    """
    found = [_verdict_table(comparison), _summary_table(comparison)]
    return [*found, _failure_table(comparison)] if any(one.failures for one in comparison.candidates) else found


def _verdict_table(comparison: Comparison) -> Table:
    table = Table.grid(padding=(0, 1))
    for candidate in comparison.candidates:
        table.add_row(mark(candidate.passed), escape(sentence(candidate)))
    return table


def _summary_table(comparison: Comparison) -> Table:
    table = Table(
        title=f"Against {escape(comparison.reference.name)}: {comparison.queries:,} queries, "
        f"{comparison.pairs:,} pairs",
        caption="Δ: candidate − reference, 95% paired bootstrap interval over queries; disk and pairs/s: candidate / "
        "reference; the reference's own drift is the noise floor",
    )
    table.add_column("System", overflow="fold")
    for heading in (HEADLINE, f"Δ {HEADLINE}", "Tier flips", "Mean |Δ|", "JS, bits", "Disk", "Pairs/s"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("Verdict", overflow="fold")
    for row in summary(comparison):
        table.add_row(*(escape(cell) for cell in row.cells))
    return table


def _failure_table(comparison: Comparison) -> Table:
    table = Table(title="Gates that did not pass")
    for heading in ("System", "Gate", "Measured", "Asked", "What it says"):
        table.add_column(heading, overflow="fold")
    for candidate in comparison.candidates:
        for verdict in candidate.failures:
            cells = (candidate.name, verdict.gate, verdict.measured, verdict.limit, verdict.meaning)
            table.add_row(*(escape(cell) for cell in cells))
    return table
