"""Evaluations as tables for people. Functions return Rich renderables; printing is left to the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gen_rerank.evaluation.evaluation import Evaluation
from gen_rerank.evaluation.intervals import LEAST_QUERIES, Interval
from gen_rerank.evaluation.significance import RESAMPLES, Difference
from gen_rerank.evaluation.verdicts import Verdict, signed_interval
from gen_rerank.reporting.numbers import ABSENT, counted, figure
from gen_rerank.reporting.tables import TextTable, WideTable, one_line

# With more systems in one table, intervals of slices would be folded into several lines.
_INTERVALS_OF = 4


def judged(queries: int, pairs: int) -> str:
    """Return what a title says of the data.

    Example:
        >>> judged(1, 20)
        '1 query, 20 pairs'
    """
    return f"{counted(queries, 'query', 'queries')}, {counted(pairs, 'pair')}"


def ranking_table(evaluations: Sequence[Evaluation]) -> WideTable:
    """Return one row a system and one column a measure, ranking first, with 95% intervals.

    Args:
        evaluations: of the same split, in the order of the rows; floors show no calibration.
    """
    first = f": {judged(evaluations[0].queries, evaluations[0].pairs)}" if evaluations else ""
    shown = [interval for one in evaluations for interval in (*one.ranking.values(), *one.calibrated.values())]
    measures = list(dict.fromkeys(name for one in evaluations for name in (*one.ranking, *one.calibrated)))
    table = WideTable(
        f"Ranking and calibration{first}",
        f"mean [95% bootstrap interval over queries]; RPS, MSE and ECE: lower is better{_few(shown)}",
        "System",
        measures,
    )
    for one in evaluations:
        found = {**one.ranking, **one.calibrated}
        table.add_row(one.name, [_cell(found, name) for name in measures])
    return table


def slices_table(evaluations: Sequence[Evaluation], measure: str = "nDCG@10") -> WideTable:
    """Return one row a tag, with its number of queries, and one column a system; of more than four the means alone.

    Args:
        evaluations: of the same split.
        measure: the measure shown, a ranking measure, `RPS` or `MSE`.
    """
    wide = len(evaluations) > _INTERVALS_OF
    shown = [row.measures[measure] for one in evaluations for row in one.slices.values() if measure in row.measures]
    with_intervals = f"mean [95% bootstrap interval over queries]{_few(shown)}"
    caption = "mean; --out writes the intervals" if wide else with_intervals
    table = WideTable(f"{measure} by slice", caption, "Slice", ["Queries", *(one.name for one in evaluations)])
    counts = {tag: row.queries for one in evaluations for tag, row in one.slices.items()}
    for tag in sorted(counts):
        found = [one.slices[tag].measures if tag in one.slices else {} for one in evaluations]
        means = [figure(row[measure].mean) if measure in row else ABSENT for row in found]
        table.add_row(tag, [f"{counts[tag]:,}", *(means if wide else [_cell(row, measure) for row in found])])
    return table


def difference_table(rows: Mapping[str, Mapping[str, Interval]], title: str = "Paired differences") -> WideTable:
    """Return one row a comparison and one column a measure.

    Args:
        rows: by the name of the comparison ("ours - BM25"), what `gen_rerank.evaluation.evaluation.difference` gave.
        title: of the table.
    """
    measures = list(dict.fromkeys(name for found in rows.values() for name in found))
    few = _few([interval for found in rows.values() for interval in found.values()])
    caption = f"difference [95% paired bootstrap interval over queries]; * the interval leaves out 0{few}"
    table = WideTable(title, caption, "Comparison", measures)
    for comparison, found in rows.items():
        table.add_row(comparison, [_signed(found.get(name)) for name in measures])
    return table


def significance_table(rows: Mapping[str, Mapping[str, Difference]]) -> WideTable:
    """Return one row a measure and comparison, with p-values before and after the correction.

    Args:
        rows: by the name of the measure, and within it by that of the comparison ("B - A").
    """
    count = max((len(found) for found in rows.values()), default=0)
    family = f"by Holm over the {count} comparisons of a measure" if count > 1 else "one comparison a measure"
    few = _few([row.interval for found in rows.values() for row in found.values()])
    test = f"two-sided paired bootstrap, {RESAMPLES:,} resamples"
    table = WideTable(
        "Paired differences",
        f"difference [95% paired bootstrap interval]; p: {test}; corrected: {family}; * below 0.05{few}",
        ("Measure", "Comparison"),
        ("Difference", "p", "corrected"),
    )
    for measure, found in rows.items():
        for place, (comparison, row) in enumerate(found.items()):
            cells = (signed_interval(row.interval), figure(row.p, ".4f"), figure(row.holm, ".4f"))
            mark = " *" if row.significant else "  "
            table.add_row(("" if place else measure, comparison), (*cells[:2], cells[2] + mark))
        table.add_section()
    return table


def gate_table(verdicts: Sequence[Verdict]) -> TextTable:
    """Return one row a gate: what was asked, what was measured, and whether it holds."""
    table = TextTable(title="Gates")
    for heading in ("Gate", "Verdict", "Measured", "Asked", "By"):
        table.add_column(heading)
    for one in verdicts:
        word = "not judged" if one.passed is None else "holds" if one.passed else "FAILS"
        table.add_row(one_line(one.gate), word, one.measured, one.limit, one.meaning)
    return table


def reliability_table(evaluation: Evaluation) -> TextTable:
    """Return the reliability diagram of one system as numbers: one row a bin of the score that has pairs."""
    table = TextTable(
        title=f"Reliability of {evaluation.name}",
        caption="a calibrated score has the same mean score and mean relevance",
    )
    for name in ("Score", "Pairs", "Mean score", "Mean relevance", "Gap"):
        table.add_column(name, justify="right")
    for row in evaluation.reliability:
        means = (f"{row.predicted:.3f}", f"{row.observed:.3f}", f"{row.predicted - row.observed:+.3f}")
        table.add_row(f"{row.low:.1f} – {row.high:.1f}", f"{row.pairs:,}", *means)
    return table


def reliabilities_table(evaluations: Sequence[Evaluation]) -> WideTable:
    """Return the reliability diagrams of several systems: one row a bin of the score, one column a system."""
    table = WideTable(
        "Reliability: mean score - mean relevance (pairs)",
        "0 is calibrated; a system that scores too high has positive figures",
        "Score",
        [one.name for one in evaluations],
    )
    cells: dict[tuple[float, float], dict[str, str]] = {}
    for one in evaluations:
        for row in one.reliability:
            gap = figure(row.predicted - row.observed, "+.3f")
            cells.setdefault((row.low, row.high), {})[one.name] = f"{gap} ({row.pairs:,})"
    for (low, high), found in sorted(cells.items()):
        table.add_row(f"{low:.1f} – {high:.1f}", [found.get(one.name, ABSENT) for one in evaluations])
    return table


def _cell(found: Mapping[str, Interval], name: str) -> str:
    return str(found[name]) if name in found else ABSENT


def _signed(interval: Interval | None) -> str:
    if interval is None:
        return ABSENT
    mark = "" if interval.few or interval.low <= 0 <= interval.high else " *"
    return interval.shown("+.3f") + mark


def _few(shown: Sequence[Interval]) -> str:
    """Return what a caption says where an interval is of too few queries."""
    return f"; neither interval nor test: fewer than {LEAST_QUERIES} queries" if any(one.few for one in shown) else ""
