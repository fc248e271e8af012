"""How fast we rerank, beside transformers, sentence-transformers and vLLM's generation: one table, one run.

A request is a query of 24 tokens with 64 products of 200. *Cold* requests have products that were never seen, so that
no cache helps anybody; *warm* ones ask something new about the same products. The decoder has the 0.6B shape with
random weights (what it says does not matter, and a test holds all ways to the same scores on a small model), or is the
packaged nano. Each way (`serving_parts/`) runs in a process of its own; ours and the best peer run twice, first and
last, so that a machine that changes its pace is seen. What a turn leaves is written before the next begins: `--resume`
goes on after an interruption, and does failed turns again. `--profile` shows where the time of our cold row goes.

Pairs a second are those of the median request. The share of the peak counts the operations that had to be done (layers
and attention, for the tokens that no cache held) against the machine's own bfloat16 matrix products, measured in the
same run.

Run: python benchmarks/serving.py --shape 0.6b --out runs/serving-0.6b.json --markdown runs/serving-0.6b.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from gen_rerank.errors import BadInput
from gen_rerank.system.steps import Steps
from harness.command import run
from harness.tables import wide_console
from harness.this_run import ThisRun
from harness.timing import LEAST_REQUESTS
from harness.traffic import Settings, Shape
from serving_parts.report import ServingReport
from serving_parts.turns import Turns, Way

ALL_WAYS = tuple(way for way in get_args(Way) if way != "profile")


def ways_of(rows: str, *, profile: bool) -> list[Way]:
    """Return the ways that are asked for.

    Raises:
        BadInput: there is no such way.

    Example:
        >>> ways_of("ours, peak", profile=True)
        ['ours', 'peak', 'profile']
    """
    names = list(ALL_WAYS) if rows == "*" else [row.strip() for row in rows.split(",")]
    if not set(names) <= set(get_args(Way)):
        raise BadInput(f"--rows {rows}: choose some of {', '.join(get_args(Way))}")
    return cast(list[Way], names + ["profile"] * (profile and "profile" not in names))


def main(
    shape: Annotated[str, typer.Option(help="0.6b or nano")] = "0.6b",
    rows: Annotated[str, typer.Option(help="which ways, with commas between; * is all", show_default="all")] = "*",
    out: Annotated[Path, typer.Option(help="JSON; beside it, .steps.json holds every finished turn")] = Path(
        "runs/serving.json"
    ),
    markdown: Annotated[Path | None, typer.Option(help="where to write the tables for a document")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="keep the finished turns of an interrupted run")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="also show where the time of our cold row goes")] = False,
    eager: Annotated[bool, typer.Option("--eager", help="no compilation: a quick look, not the figures")] = False,
    requests: Annotated[int, typer.Option(help="the most of a row", min=LEAST_REQUESTS)] = 200,
    seconds: Annotated[float, typer.Option(help="after these a row gets no further request", min=0.0)] = 45.0,
    candidates: Annotated[int, typer.Option(help="products of a request", min=1)] = 64,
    limit: Annotated[float, typer.Option(help="the most seconds of a turn", min=1.0)] = 1800.0,
    models: Annotated[Path | None, typer.Option(help="folder of models and outputs; beside --out by default")] = None,
) -> None:
    """Measure each way in its own process and print the table."""
    ways = ways_of(rows, profile=profile)
    if shape not in get_args(Shape):
        raise BadInput(f"--shape {shape}: choose one of {', '.join(get_args(Shape))}")
    compiled = False if eager else None
    settings = Settings(cast(Shape, shape), candidates, requests=requests, seconds=seconds, compiled=compiled)
    console, about = wide_console(150), ThisRun.now()
    folder = models or out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    turns = Turns(ways, settings, folder, limit, Steps(out.with_suffix(".steps.json")))
    if not resume:
        turns.start_anew()
    done = turns.done()
    for each in turns.rest():
        found = ", ".join(f"{row.row}: {row.pairs_per_second:.2f} pairs/s" for row in each.rows)
        console.print(f"{each.turn.way} {each.turn.visit}: {found or each.failed or 'done'}", soft_wrap=True)
        done.append(each)
    report = ServingReport(settings, done, about)
    report.show(console)
    out.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    if markdown:
        markdown.write_text(report.markdown(), encoding="utf-8")
    if report.failures():
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
