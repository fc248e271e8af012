"""`gen-rerank sample`."""

from __future__ import annotations

from typing import Annotated

import typer

from gen_rerank.reporting.shell import Out, Products, Queries, console

app = typer.Typer()


@app.command()
def sample(
    out: Out,
    seed: Annotated[int, typer.Option("--seed", help="The same seed writes the same bytes.")] = 0,
    products: Products = 3000,
    queries: Queries = 3000,
) -> None:
    """Write the embedded sample shop: products, queries and judgments, all synthetic.

    Example: gen-rerank sample --out shop --seed 0
    """
    from gen_rerank.data.sample import write_sample

    data = write_sample(out, seed, products, queries)
    console().print(
        f"{out}: {len(data.products):,} products, {len(data.queries):,} queries, {len(data.judgments):,} judgments"
    )
