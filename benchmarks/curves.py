"""What judgments are worth: nDCG@5 and RPS on test queries against how many were learned from, for three ways to learn.

An adapter of a base, the base's further training with all weights (phase 1 goes on, ten epochs), and an encoder. The
subsets are of whole queries, drawn from the train and validation splits with a seed, and each holds the one before it;
every way learns from all of its subset, and is measured on the test queries. Where no adapter is written, the shop has
the base, so that its figures stand there. Every step is a command that a user types; what is finished is kept in
`--out`, so that an interrupted run goes on where it stopped. One training each: the intervals are of the chance of
queries, not of trainings.

Run: python benchmarks/curves.py --data my-shop --base runs/model --sizes 100,300,1000,3000 --out runs/curves
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from curves_parts.subsets import nested_subsets
from curves_parts.ways import NAMES, WAYS, CurvePoint, Curves, ways_named
from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation.evaluation import HEADLINE, RPS, Evaluation, difference
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import signed_interval
from harness.command import run
from harness.steps import CommandSteps
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from search_scale import numbers

HEADER = ("way", "judgments", "queries", HEADLINE, f"{HEADLINE} − base", f"{RPS} ↓", f"{RPS} − base", "")
_COLOURS = {"adapter": "#3056d3", "all": "#0f8a6d", "encoder": "#b54708"}


def rows_of(base: Evaluation, points: list[CurvePoint]) -> list[list[str]]:
    """Return the cells under `HEADER`, the base first."""
    shown = [["base", "0", "0", str(_at(base, HEADLINE)), "", str(_at(base, RPS)), "", ""]]
    for point in points:
        gains = difference(point.found, base)
        changes = ["", ""] if point.refused else [signed_interval(gains[name]) for name in (HEADLINE, RPS)]
        figures = [str(_at(point.found, name)) for name in (HEADLINE, RPS)]
        shown.append(
            [
                NAMES[point.way],
                f"{point.judgments:,}",
                f"{point.queries:,}",
                *(cell for pair in zip(figures, changes, strict=True) for cell in pair),
                "refused: the base" if point.refused else "",
            ]
        )
    return shown


def draw(base: Evaluation, points: list[CurvePoint], file: Path) -> None:
    """Write the curves as SVG: a panel a measure, a line a way, lines across a point are its 95% interval."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    sizes = sorted({point.judgments for point in points})
    for panel, name in zip(figure.subplots(1, 2), (HEADLINE, RPS), strict=True):
        panel.axhline(_at(base, name).mean, color="#667085", linestyle="--", label="base")
        for place, way in enumerate(dict.fromkeys(point.way for point in points)):
            of_way = [point for point in points if point.way == way]
            intervals = [_at(point.found, name) for point in of_way]
            means = [one.mean for one in intervals]
            ends = [[one.mean - one.low for one in intervals], [one.high - one.mean for one in intervals]]
            at = [point.judgments * 1.03**place for point in of_way]  # beside one another
            panel.errorbar(at, means, ends, marker="o", capsize=3, label=NAMES[way], color=_COLOURS[way])
        panel.set(xlabel="judgments learned from", xscale="log", title=f"{name}{' (lower is better)' * (name == RPS)}")
        panel.set_xticks(sizes)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.xaxis.minorticks_off()
    panel.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None})


def main(
    data: Annotated[Path, typer.Option(help="A folder with judged queries, test queries among them.")],
    base: Annotated[Path, typer.Option(help="A checkpoint with the bins readout.")],
    sizes: Annotated[str, typer.Option(help="Judgments to learn from, with commas between.")] = "100,300,1000,3000",
    ways: Annotated[str, typer.Option(help="Of these, with commas between.")] = ",".join(WAYS),
    encoder: Annotated[str, typer.Option(help="What the encoder starts from: minilm, a folder, a name.")] = "minilm",
    seed: Annotated[int, typer.Option(help="Of the order in which queries are drawn.")] = 0,
    out: Annotated[Path, typer.Option(help="Where data, models, points, table and drawing go.")] = Path("runs/curves"),
) -> None:
    """Train and measure what is missing; print a table, and write curves.md, curves.json and curves.svg."""
    counts, chosen = numbers(sizes), ways_named(ways)
    console, this_run = wide_console(150), ThisRun.now()
    subsets = nested_subsets(Dataset.load(data), counts, seed)
    curves = Curves(base, encoder, seed, CommandSteps(out, console))
    before = curves.before(subsets[0])
    points = [curves.point(way, subset) for subset in subsets for way in chosen]
    points.sort(key=lambda point: chosen.index(point.way))
    caption = (
        f"Mean [95% bootstrap interval over {before.queries:,} test queries]; differences are paired. Queries drawn "
        f"with seed {seed}, one training each. {this_run.line()}."
    )
    table = FigureTable("Judgments and what they are worth", HEADER, rows_of(before, points), caption)
    table.show(console)
    (out / "curves.md").write_text(table.document() + "\n", encoding="utf-8")
    figures = [
        {
            "way": point.way,
            "judgments": point.judgments,
            "queries": point.queries,
            "refused": point.refused,
            **{name: _at(point.found, name).to_json() for name in (HEADLINE, RPS)},
        }
        for point in points
    ]
    (out / "curves.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(before, points, out / "curves.svg")
    for point in points:
        if point.refused:
            console.print(f"{NAMES[point.way]}, {point.judgments:,} judgments: {point.refused}", soft_wrap=True)
    console.print(f"{out / 'curves.md'}  {out / 'curves.json'}  {out / 'curves.svg'}", soft_wrap=True)


def _at(found: Evaluation, name: str) -> Interval:
    return {**found.ranking, **found.calibrated}[name]


if __name__ == "__main__":
    run(main)
