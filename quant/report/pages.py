"""The pages of a comparison: `report.html`, one file that needs nothing else, and `report.md`.

All figures are the `Comparison`'s and all limits the gates'; here they are only laid out. The pages are
`templates/comparison.html` (inline SVG, no script) and `templates/comparison.md`; what a template cannot compute itself
are `rows`, `drawings` and `words`.
"""

from __future__ import annotations

import math
from pathlib import Path

from gen_rerank.evaluation.evaluation import ECE, HEADLINE, MSE, RPS
from gen_rerank.evaluation.metrics import MEASURES
from gen_rerank.reporting.axis import Axis
from gen_rerank.reporting.markdown import prose
from gen_rerank.reporting.numbers import figure, significant, size
from gen_rerank.reporting.pages import render
from gen_rerank.system.publishing import write_text_whole
from quant.comparison import Comparison
from quant.report.drawings import changes, pareto_plots
from quant.report.rows import COST_COLUMNS, cost_table, flip_matrix, gate_rows, slices_by_loss, summary
from quant.report.words import bracketed, brief, interval_ends, mark, one_line, px, sentence, times

PAGE = "report.html"
TEXT = "report.md"

_LESS_IS_BETTER = frozenset((RPS, MSE, ECE))


def write_report(comparison: Comparison, out: Path) -> None:
    """Write `report.html` and `report.md` into the folder `out`, which must exist.

    Example:
        >>> write_report(Comparison.load("runs/compare/comparison.json"), Path("runs/compare"))  # doctest: +SKIP
    """
    shapes = _shapes(comparison)
    filters = (figure, significant, size, interval_ends, bracketed, prose, brief, px, one_line, mark, sentence)
    for template, name in (("comparison.html", PAGE), ("comparison.md", TEXT)):
        write_text_whole(out / name, render("quant", template, shapes, *filters))


def _shapes(comparison: Comparison) -> dict[str, object]:
    """Return what both templates read."""
    rows = "bad row" if comparison.skipped == 1 else "bad rows"
    systems = (comparison.reference, *comparison.candidates)
    measured = [*(one.quality for one in systems if one.quality), *comparison.floors.values()]
    bounds = [
        end for one in comparison.candidates for row in one.slices.values() for end in (row.ndcg5.low, row.ndcg5.high)
    ]
    return {
        "comparison": comparison,
        "headline": HEADLINE,
        "systems": systems,
        "scored": [one for one in comparison.candidates if one.drift],
        "skipped": f", {comparison.skipped:,} {rows} left out" if comparison.skipped else "",
        "summary": summary(comparison),
        "measures": list(dict.fromkeys(name for one in measured for name in one.measures)),
        "less_is_better": _LESS_IS_BETTER,
        "meanings": {measure.name: measure.meaning for measure in MEASURES},
        "costs": cost_table(comparison),
        "cost_columns": list(COST_COLUMNS),
        "cost_measured": any(system.cost for system in systems),
        "same_cache": any(visit.cache_bytes for system in systems for cost in system.cost for visit in cost.visits),
        "gates": gate_rows(comparison),
        "paretos": pareto_plots(comparison),
        "changes": changes(comparison),
        "slice_axis": Axis.over((0.0, *(end for end in bounds if math.isfinite(end)))),
        "tags": sorted({tag for one in comparison.candidates for tag in one.slices}),
        "slices_by_loss": slices_by_loss,
        "flip_matrix": flip_matrix,
        "times": times,
    }
