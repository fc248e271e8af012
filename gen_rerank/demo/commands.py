"""`gen-rerank demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen_rerank.reporting.shell import Config, Products, Queries, console, written

app = typer.Typer()


@app.command()
def demo(
    out: Annotated[Path, written("--out", "Where models, report and summary go.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", help="Of the sample shop.")] = 0,
    config: Config = "nano",
    products: Products = 3000,
    queries: Queries = 3000,
) -> None:
    """Run everything once, small: sample, train, evaluate, quantize, serve, ask, report.

    A second run keeps the steps that are done; remove the folder to start over.

    Example: gen-rerank demo --out runs/demo
    """
    from gen_rerank.demo.demo import Demo
    from gen_rerank.system.interrupts import kept_when_interrupted
    from gen_rerank.system.processes import signals_unwind

    kept = f"the finished steps in {out} are kept: the same command goes on"
    with signals_unwind(), kept_when_interrupted(kept):
        Demo(out, seed=seed, config=config, products=products, queries=queries, console=console()).run()
