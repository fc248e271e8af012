"""What the terminal shows of a comparison: the verdicts, one row a system, and the gates that did not pass."""

from __future__ import annotations

from gen_rerank.evaluation.evaluation import HEADLINE
from gen_rerank.evaluation.tables import judged
from gen_rerank.reporting.tables import TextTable
from quant.comparison import Comparison
from quant.report.rows import summary
from quant.report.words import mark, sentence


def tables(comparison: Comparison) -> list[TextTable]:
    """Return what the terminal shows: the verdicts, one row a system, and the gates that did not pass, if any.

    Example:
        >>> for table in tables(Comparison.load("runs/compare/comparison.json")):  # doctest: +SKIP
        ...     console.print(table)
    """
    found = [_verdict_table(comparison), _summary_table(comparison)]
    return [*found, _failure_table(comparison)] if any(one.failures for one in comparison.candidates) else found


def _verdict_table(comparison: Comparison) -> TextTable:
    table = TextTable(box=None, padding=(0, 1), show_header=False, pad_edge=False, collapse_padding=True)
    for candidate in comparison.candidates:
        table.add_row(mark(candidate.passed), sentence(candidate))
    return table


def _summary_table(comparison: Comparison) -> TextTable:
    table = TextTable(
        f"Against {comparison.reference.name}: {judged(comparison.queries, comparison.pairs)}",
        "Δ: candidate − reference, 95% paired bootstrap interval over queries; disk and pairs/s: candidate / "
        "reference; the reference's own drift is the noise floor",
    )
    table.add_column("System")
    for heading in (HEADLINE, f"Δ {HEADLINE}", "Tier flips", "Mean |Δ|", "JS, bits", "Disk", "Pairs/s"):
        table.add_column(heading, justify="right")
    table.add_column("Verdict")
    for row in summary(comparison):
        table.add_row(*row.cells)
    return table


def _failure_table(comparison: Comparison) -> TextTable:
    table = TextTable("Gates that did not pass")
    for heading in ("System", "Gate", "Measured", "Asked", "What it says"):
        table.add_column(heading)
    for candidate in comparison.candidates:
        for verdict in candidate.failures:
            cells = (candidate.name, verdict.gate, verdict.measured, verdict.limit, verdict.meaning)
            table.add_row(*cells)
    return table
