"""The tables of the results: as Markdown for docs/results.md, as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Split
from gen_rerank.evaluation.evaluation import ECE, Evaluation
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.significance import RESAMPLES, SIGNIFICANT, Difference, differences
from gen_rerank.reporting.markdown import table
from gen_rerank.reporting.numbers import ABSENT
from gen_rerank.system.steps import Steps
from harness.this_run import ThisRun
from results_parts.compared import COMPARED, COMPARISONS
from results_parts.measured import ADAPTED, Benchmark, ShopResult, Untouched

PACKAGES = ("torch", "transformers", "trl", "peft", "sentence-transformers", "bm25s")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NAMES = (*COMPARED, ECE)

QUICK_LOOK = "**A quick look: every training was cut to {} steps. These figures say nothing.**"
READ_AS = (
    "Mean [95% percentile bootstrap interval over queries, 2,000 resamples]. RPS, MSE and ECE: lower is better; what "
    "gives a score and no distribution has none. All systems are measured on the test queries, which nothing was "
    "trained or chosen on."
)


def report(about: ThisRun, results: Sequence[ShopResult], untouched: Untouched, benchmark: Benchmark) -> str:
    """Return all tables as Markdown."""
    parts = [
        f"{about.date}, {about.machine}; {about.versions}. Command:\n\n    {about.command}",
        *([QUICK_LOOK.format(benchmark.steps)] if benchmark.steps else []),
        READ_AS,
        table(
            ["data", "products", *(f"{split}: queries / pairs" for split in SPLITS), "fingerprint"],
            [_data_row(result) for result in results],
        ),
    ]
    for result in results:
        parts += _shop_parts(result)
    parts += _untouched_parts(untouched)
    parts += ["### Seconds", _seconds_table(results, benchmark.out)]
    return "\n\n".join(parts) + "\n"


def figures_of(
    about: ThisRun, results: Sequence[ShopResult], untouched: Untouched, benchmark: Benchmark
) -> dict[str, Any]:
    """Return all figures for programs."""
    return {
        "date": about.date,
        "command": about.command,
        "machine": f"{about.machine}; {about.versions}",
        "steps": benchmark.steps,
        "shops": {result.shop.name: to_json(result, benchmark.out) for result in results},
        "base": {"fingerprint": untouched.fingerprint_after, "sample": figures(untouched.after)},
    }


def to_json(result: ShopResult, out: Path) -> dict[str, Any]:
    """Return a shop's figures for programs."""
    return {
        "title": result.shop.title,
        "fingerprint": result.data.fingerprint,
        "counts": {split: counts(result.data.of(split)) for split in SPLITS},
        "systems": {name: figures(system) for name, system in result.systems.items()},
        "refused": result.refused,
        "differences": {
            f"{first} - {second}": {measure: row.to_json() for measure, row in rows.items()}
            for (first, second), rows in differences(result.systems, COMPARISONS, COMPARED).items()
        },
        "steps": finished_steps(result, out),
    }


def measures(system: Evaluation) -> dict[str, Interval]:
    """Return the measures of the tables that a system has."""
    found = {**system.ranking, **(system.calibration or {})}
    return {name: found[name] for name in NAMES if name in found}


def figures(system: Evaluation) -> dict[str, list[float]]:
    """Return `measures` as `[mean, low, high]` each."""
    return {name: interval.to_json() for name, interval in measures(system).items()}


def finished_steps(result: ShopResult, out: Path) -> dict[str, dict[str, Any]]:
    """Return the steps that a shop took, with their seconds."""
    return Steps(out / result.shop.name / "steps.json").finished()


def counts(part: Dataset) -> dict[str, int]:
    """Return how many queries of a split are judged, and how many pairs."""
    return {"queries": len(part.by_query()), "pairs": len(part.judgments)}


def _data_row(result: ShopResult) -> list[str]:
    found = (counts(result.data.of(split)) for split in SPLITS)
    cells = [f"{row['queries']:,} / {row['pairs']:,}" for row in found]
    return [result.shop.title, f"{len(result.data.products):,}", *cells, f"`{result.data.fingerprint}`"]


def _shop_parts(result: ShopResult) -> list[str]:
    rows = [
        [name, *(_cell(measures(system).get(measure)) for measure in NAMES)] for name, system in result.systems.items()
    ]
    if result.refused:
        rows.append([ADAPTED, "refused: see below", *[""] * (len(NAMES) - 1)])
    family = differences(result.systems, COMPARISONS, COMPARED)
    compared = [
        [f"{first} − {second}", *(_signed(found.get(measure)) for measure in COMPARED)]
        for (first, second), found in family.items()
    ]
    size = sum(len(found) for found in family.values())
    parts = [
        f"### {result.shop.title}",
        table(["system", *NAMES], rows),
        table(["paired difference", *COMPARED], compared),
        f"\\* below {SIGNIFICANT} after Holm's correction over the {size} differences of this table (two-sided paired "
        f"bootstrap over queries, {RESAMPLES:,} resamples).",
    ]
    return [*parts, f"The adapter's refusal: {result.refused}."] if result.refused else parts


def _untouched_parts(found: Untouched) -> list[str]:
    rows = [
        [label, f"`{fingerprint}`", *(_cell(measures(system).get(name)) for name in NAMES)]
        for label, fingerprint, system in (
            ("before the adapters were trained", found.fingerprint_before, found.before),
            ("after", found.fingerprint_after, found.after),
        )
    ]
    return [
        "### The base is untouched",
        "The base alone on the sample's test queries; the command fails unless the fingerprint and every query's "
        "figures are identical.",
        table(["nano", "fingerprint", *NAMES], rows),
    ]


def _seconds_table(results: Sequence[ShopResult], out: Path) -> str:
    done = {result.shop.title: finished_steps(result, out) for result in results}
    names = list(dict.fromkeys(name for steps in done.values() for name in steps))
    return table(
        ["step", *done],
        [
            [name, *(f"{steps[name]['seconds']:,.0f}" if name in steps else ABSENT for steps in done.values())]
            for name in names
        ],
    )


def _cell(interval: Interval | None) -> str:
    return ABSENT if interval is None else str(interval)


def _signed(row: Difference | None) -> str:
    if row is None:
        return ABSENT
    mark = " \\*" if row.significant else ""
    return row.interval.shown("+.3f") + mark
