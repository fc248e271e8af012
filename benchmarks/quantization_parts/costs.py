"""The table of costs: disk, memory, start, throughput and latency of each system in each engine."""

from __future__ import annotations

from gen_rerank.reporting.markdown import table
from harness.this_run import ThisRun
from quant.comparison import Comparison

HEADER = ("System", "Engine", "Disk, MiB", "pairs/s", "Resident, MiB", "Start, s", "p50, ms", "p95, ms", "visits")
FIELDS = ("pairs_per_second", "resident_bytes", "start_seconds", "p50_seconds", "p95_seconds")


def speed_document(comparison: Comparison) -> str:
    """Return the table of costs as Markdown; in brackets the ratio to the reference in the same engine."""
    rows = []
    for system in (comparison.reference, *comparison.candidates):
        disk = f"{system.disk_bytes / 2**20:,.0f}"
        for cost in system.cost:
            reference = comparison.reference.cost_of(cost.engine)
            if not cost.visits or reference is None or not reference.visits:
                rows.append([system.name, cost.engine, disk, cost.unmeasured or "no reference", *[""] * 5])
                continue
            found = {field: cost.median(field) for field in FIELDS}
            ratio = {field: found[field] / reference.median(field) for field in FIELDS}
            rows.append(
                [
                    system.name,
                    f"{cost.engine}, {cost.dtype}",
                    disk,
                    f"{found['pairs_per_second']:,.2f} ({ratio['pairs_per_second']:.2f}×)",
                    f"{found['resident_bytes'] / 2**20:,.0f} ({ratio['resident_bytes']:.2f}×)",
                    f"{found['start_seconds']:.0f}",
                    f"{1000 * found['p50_seconds']:,.0f} ({ratio['p50_seconds']:.2f}×)",
                    f"{1000 * found['p95_seconds']:,.0f}",
                    str(len(cost.visits)),
                ]
            )
    return f"{ThisRun.now().line()}.\n\n{table(HEADER, rows)}\n"
