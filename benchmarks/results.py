"""Every table of docs/results.md in one command: six systems on three shops, from data to significance.

The shops: the embedded sample, a second synthetic one with strict people, and Chorus, whose judgments are real
(catalogs.py). The systems: random order, BM25, MiniLM as a bi-encoder as it comes, MiniLM as a cross-encoder with
eleven bins trained on the shop, a nano decoder as it comes, and the same under an adapter trained on the shop. All are
measured on the shop's test queries, on which nothing was trained or chosen. Every model is trained and scored by the
command that a user types, in a process of its own (`results_parts/`). A step that is done is kept, so an interrupted
benchmark goes on where it stopped; remove `--out` to start over.

Run: python benchmarks/results.py --model runs/demo/model --chorus path/to/chorus --out runs/results
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from gen_rerank.errors import BadInput
from harness.command import run
from harness.tables import wide_console
from harness.this_run import ThisRun
from results_parts.measured import Benchmark
from results_parts.shops import shops
from results_parts.tables import PACKAGES, figures_of, report


def main(
    model: Annotated[Path, typer.Option(help="the nano decoder: a checkpoint trained on the sample")],
    chorus: Annotated[Path | None, typer.Option(help="the folder with Chorus' pairs.jsonl.gz")] = None,
    out: Annotated[Path, typer.Option(help="where data, models, scores and tables go")] = Path("runs/results"),
    only: Annotated[str, typer.Option(help="shops, separated by commas")] = "sample,strict,chorus",
    steps: Annotated[int | None, typer.Option(min=1, help="of each training, for a quick look at the whole")] = None,
) -> None:
    """Train, score and measure what is missing; print the tables and write results.json and results.md."""
    known = {shop.name: shop for shop in shops(chorus)}
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            missing = (
                "Chorus needs --chorus, the folder with its pairs" if name == "chorus" else f"there is no shop {name!r}"
            )
            raise BadInput(f"{missing}; choose of {', '.join(known)} with --only")
    console, about = wide_console(160), ThisRun.now(PACKAGES)
    benchmark = Benchmark(model, out, steps, console)
    results, untouched = benchmark.run([known[name] for name in names], known["sample"])
    text = report(about, results, untouched, benchmark)
    console.print(Markdown(text))
    (out / "results.md").write_text(text, encoding="utf-8")
    figures = figures_of(about, results, untouched, benchmark)
    (out / "results.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"{out / 'results.md'}  {out / 'results.json'}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
