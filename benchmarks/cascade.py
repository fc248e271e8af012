"""What a cascade buys: nDCG@k against the pairs that the decoder reads, and whether its promise holds.

Works from scores that exist (`gen-rerank score`), so that it costs no model's time. Beside the cascade stand the
encoder alone, the decoder alone, and the cascade that everybody has: the decoder reads a fixed number of the encoder's
first products. Each fixed depth is compared with the cascade that reads no more. A promise is made on drawn queries
many times and measured on others, as in `benchmarks/promises.py`.

Run: python benchmarks/cascade.py --shop sample=shop,encoder.jsonl,decoder.jsonl --split test --out runs/cascade
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure

from cascade_parts.promised import DRAWS, HALVES, drawn_outcomes, summary
from cascade_parts.ways import CASCADE, DECODER, DEPTH, ENCODER, Spent, all_ways, at_the_cost_of
from gen_rerank.data.dataset import judged_split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.scores import read_scores
from gen_rerank.evaluation.verdicts import signed_interval
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.search.cascade.fit import STEPS, promise_text
from gen_rerank.search.cascade.judged import CascadeLosses, TwoReadings
from harness.command import run
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from search_scale import numbers

PROMISES = ("shop, promise", "queries", "promised in", "broken", "may be", "mean lost", "products read")
_COLOURS = {CASCADE: "#3056d3", DEPTH: "#b54708"}


def pareto_rows(ways: list[Spent], speeds: list[float] | None, products: float) -> list[list[str]]:
    """Return a row for each way: what it costs and what it is worth.

    Args:
        ways: the decoder alone is the last.
        speeds: pairs a second of encoder and decoder, where they are known.
        products: how many a query has, on average.
    """
    decoder, rows = ways[-1], []
    for one in ways:
        read = one.kind != DECODER
        cost = [] if speeds is None else [figure(1000 * (read * products / speeds[0] + one.cost / speeds[1]), ",.0f")]
        same = at_the_cost_of(one, ways) if one.kind == DEPTH else None
        gain = "" if same is None else f"{signed_interval(same.over(one))} ({same.setting})"
        lost = "" if one is decoder else signed_interval(one.over(decoder))
        rows.append([one.name, figure(one.cost, ".1f"), *cost, str(one.mean()), lost, gain])
    return rows


def draw(ways: dict[str, list[Spent]], k: int, file: Path) -> None:
    """Write the picture as SVG: a panel a shop, nDCG@k against the pairs that the decoder reads."""
    picture = Figure(figsize=(5.2 * len(ways), 4), layout="constrained")
    for panel, (shop, spent) in zip(picture.subplots(1, len(ways), squeeze=False)[0], ways.items(), strict=True):
        for kind, colour in _COLOURS.items():
            of_kind = sorted((one for one in spent if one.kind == kind), key=lambda one: one.cost)
            means = [one.mean() for one in of_kind]
            at = [one.cost for one in of_kind]
            panel.plot(at, [one.mean for one in means], marker="o", markersize=3, color=colour, label=kind)
            panel.fill_between(
                at, [one.low for one in means], [one.high for one in means], color=colour, alpha=0.12, linewidth=0
            )
        for kind, style in ((ENCODER, ":"), (DECODER, "--")):
            level = next(one for one in spent if one.kind == kind).mean().mean
            panel.axhline(level, color="#667085", linestyle=style, label=kind)
        panel.set(title=shop, xlabel="pairs that the decoder reads, a query", ylabel=f"nDCG@{k}")
        panel.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, format="svg", metadata={"Date": None})


def promise_rows(
    shop: str,
    readings: TwoReadings,
    losses: CascadeLosses,
    k: int,
    limits: list[float],
    draws: int,
    advance: Callable[[], object],
) -> list[dict[str, Any]]:
    """Return a row for each promise and way of drawing."""
    rows = []
    for at_most in limits:
        for way in (HALVES, DRAWS):
            found = drawn_outcomes(readings, losses, k, at_most, way, draws, seed=0)
            queries = len(readings.products) // (2 if way == HALVES else 1)
            rows.append(
                {"shop": shop, "promise": promise_text(k, at_most), "way": way, "queries": queries}
                | summary(found, at_most)
            )
            advance()
    return rows


def promise_cells(row: dict[str, Any]) -> list[str]:
    """Return a row's cells under `PROMISES`."""
    return [
        f"{row['shop']}, {row['promise']} ({row['way']})",
        f"{row['queries']:,}",
        f"{row['promised']:,} of {row['draws']:,}",
        figure(row["broken_share"], ".1%"),
        figure(row["may_be_broken"], ".1%"),
        figure(row["mean_lost"], "+.4f"),
        figure(row["read"], ".0%"),
    ]


def main(
    shop: Annotated[list[str], typer.Option(help="NAME=DATA,ENCODER.jsonl,DECODER.jsonl; repeat for several.")],
    split: Annotated[str, typer.Option(help="Whose queries were scored.")] = "test",
    places: Annotated[int, typer.Option(min=1, help="k of nDCG@k.")] = 5,
    depths: Annotated[str, typer.Option(help="Fixed depths, with commas between.")] = "4,8,16,32,64",
    at_most: Annotated[list[float], typer.Option(help="What is promised; repeat.")] = [0.005, 0.02, 0.05],  # noqa: B006
    draws: Annotated[int, typer.Option(min=1, help="How often queries are drawn.")] = 200,
    pairs_per_second: Annotated[str | None, typer.Option(help="ENCODER,DECODER, as gen-rerank score says.")] = None,
    out: Annotated[Path, typer.Option(help="Where tables, figures and drawing go.")] = Path("runs/cascade"),
) -> None:
    """Measure every way on each shop; print tables, and write cascade.md, cascade.json and cascade.svg."""
    console, this_run = wide_console(170), ThisRun.now()
    speeds = None if pairs_per_second is None else _speeds(pairs_per_second)
    ways: dict[str, list[Spent]] = {}
    tables, promises = [], []
    header = ["way", "pairs read", *([] if speeds is None else ["ms a query"]), f"nDCG@{places}", "− decoder alone"]
    header.append("cascade of at most that cost − this")
    with WorkProgress(transient=True) as progress:
        task = progress.add_task("measuring", total=len(shop) * (len(STEPS) + 2 * len(at_most)))
        for given in shop:
            name, readings = opened(given, split)
            losses = CascadeLosses.of(readings, places, STEPS, advance=lambda: progress.advance(task))
            ways[name] = all_ways(readings, losses, numbers(depths), places)
            products = float(readings.products.mean())
            caption = (
                f"{len(readings.products):,} queries of the split {split!r}, {products:.1f} judged products each. "
                "Pairs read: by the decoder, a query. Mean [95% bootstrap interval over queries]; differences are "
                "paired. Cascade low, high: read is what has a chance above low to be among the first, and what would "
                "be shown with a chance up to high."
            )
            tables.append(FigureTable(name, header, pareto_rows(ways[name], speeds, products), caption))
            promises += promise_rows(name, readings, losses, places, at_most, draws, lambda: progress.advance(task))
    caption = (
        f"{draws} draws. Halves: bounds are chosen on one half and measured on the other, whose mean is a draw too. "
        "Draws: as many queries as there are are drawn with replacement, and all measure. May be: 10% and two standard "
        "errors. Lost and read: where the promise was made."
    )
    tables.append(FigureTable("Promises", PROMISES, [promise_cells(row) for row in promises], caption))
    console.print(this_run.heading(), highlight=False, soft_wrap=True)
    for table in tables:
        table.show(console)
    out.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join(f"## {table.title}\n\n{table.document()}" for table in tables)
    (out / "cascade.md").write_text(f"{this_run.heading()}\n\n{text}\n", encoding="utf-8")
    figures = {
        name: [
            {"way": one.name, "pairs": one.cost, "ndcg": one.mean().to_json(), "lost": spent[-1].over(one).to_json()}
            for one in spent
        ]
        for name, spent in ways.items()
    }
    whole = {"run": this_run.heading(), "shops": figures, "promises": promises}
    (out / "cascade.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    draw(ways, places, out / "cascade.svg")
    console.print(f"{out / 'cascade.md'}  {out / 'cascade.json'}  {out / 'cascade.svg'}", soft_wrap=True)


def opened(given: str, split: str) -> tuple[str, TwoReadings]:
    """Return a shop's name, and its judged queries as both models read them."""
    name, _, places = given.partition("=")
    words = places.split(",")
    if not name or len(words) != 3 or not all(words):
        raise BadInput(f"--shop {given}: write NAME=DATA,ENCODER.jsonl,DECODER.jsonl")
    judged = judged_split(Path(words[0]), split)
    encoder, decoder = (read_scores(word).of(judged) for word in words[1:])
    return name, TwoReadings.of(judged, encoder, decoder)


def _speeds(given: str) -> list[float]:
    """Return pairs a second of encoder and decoder."""
    try:
        found = [float(word) for word in given.split(",")]
    except ValueError:
        found = []
    if len(found) != 2 or not all(one > 0 for one in found):
        raise BadInput(f"--pairs-per-second {given}: write ENCODER,DECODER, such as 240,13.3")
    return found


if __name__ == "__main__":
    run(main)
