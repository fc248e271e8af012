"""`gen-rerank score`, `gen-rerank evaluate` and `gen-rerank rank`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.shell import (
    AdapterName,
    AsJson,
    BackendName,
    Confidence,
    Data,
    DtypeName,
    MinTier,
    Model,
    Out,
    SkipBadRows,
    Split,
    console,
    error_console,
    list_left_out,
    say,
    say_json,
    show_report,
    written,
)

if TYPE_CHECKING:
    from gen_rerank.evaluation.measuring import EvaluationPlan

app = typer.Typer()

_EVALUATE_EXAMPLES = """Example: gen-rerank evaluate runs/model shop --out evaluation.json

gen-rerank evaluate runs/small runs/small-int8 shop --gate "ndcg@5 of B - A >= -0.005" && ./ship.sh

gen-rerank evaluate runs/new shop --baseline evaluation.json --gate "ndcg@5 of A - baseline >= 0" --json

gen-rerank evaluate runs/model shop --index runs/index --plot headroom.svg
"""


@app.command()
def score(
    model: Model,
    data: Data,
    out: Out,
    split: Split = "test",
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    adapter: AdapterName = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Write the distribution of every judged pair of a split, as JSON Lines.

    Example: gen-rerank score runs/model shop --out scores.jsonl --backend vllm
    """
    from gen_rerank.evaluation.measuring import score_split

    done = score_split(model, data, split, backend, skip_bad_rows, out, adapter=adapter, dtype=dtype)
    list_left_out(error_console() if as_json else console(), done.bad_rows)
    if as_json:
        say_json(done.to_json())
        return
    say(f"{out}: {counted(done.pairs, 'pair')}, {done.pairs_per_second:,.0f} a second ({done.scored_with})")


@app.command(epilog=_EVALUATE_EXAMPLES)
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="Checkpoint folders or hub names, one or several.", show_default=False),
    ],
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder with products, queries and judgments.", show_default=False),
    ],
    split: Split = "test",
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    adapter: AdapterName = None,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", help='A condition such as "ndcg@5 of B - A >= -0.005"; exit code 1 where one fails.'),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An evaluation of one model that --out wrote earlier.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="eress: also the two nDCG@5 that are told of ERESS.")
    ] = None,
    out: Annotated[Path | None, written("--out", "Write all figures as JSON.")] = None,
    scores: Annotated[Path | None, written("--scores", "Write the only model's distributions as JSON Lines.")] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="Measure this index of gen-rerank index instead, and the model behind it."),
    ] = None,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="With --index: so many queries, drawn by a seeded hash.")
    ] = None,
    plot: Annotated[Path | None, written("--plot", "With --index: draw the headroom as SVG.")] = None,
    as_json: AsJson = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Measure ranking and calibration beside the floors random and BM25, with 95% intervals, per slice.

    Each model is compared with the --baseline, and of up to three models every pair; of more, each with the baseline
    alone, or without one with the first model. In gates they are called by their folders, or A, B, C in the order
    given; a gate is judged on the worse end of the 95% interval.

    With --index the candidates come from an index: recall of its lists, and what a better retrieval or a better
    reranker would gain.
    """
    from gen_rerank.evaluation.measuring import EvaluationPlan, evaluate_models

    plan = EvaluationPlan(
        models=tuple(models),
        data=data,
        split=split,
        backend=backend,
        dtype=dtype,
        adapter=adapter,
        gates=tuple(gate or ()),
        baseline=baseline,
        measure=measure,
        out=out,
        scores=scores,
        skip_bad_rows=skip_bad_rows,
    )
    if index is not None:
        _evaluate_index(plan, index, queries, plot, as_json)
        return
    if queries is not None or plot is not None:
        raise BadInput("--queries and --plot go with --index")
    report = evaluate_models(plan)
    show_report(report, as_json=as_json)
    if not report.found.passed:
        raise typer.Exit(1)


def _evaluate_index(plan: EvaluationPlan, index: Path, queries: int | None, plot: Path | None, as_json: bool) -> None:
    from gen_rerank.search.judging import RetrievalPlan, evaluate_retrieval

    show_report(evaluate_retrieval(RetrievalPlan(plan, index, queries, plot)), as_json=as_json)


@app.command()
def rank(
    model: Model,
    query: Annotated[str, typer.Argument(help="What a shopper types.", show_default=False)],
    products: Annotated[
        Path,
        typer.Option("--products", help="Products: .jsonl, .jsonl.gz, .parquet or a data folder.", show_default=False),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many products are shown.")] = 10,
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    adapter: AdapterName = None,
    min_tier: MinTier = None,
    confidence: Confidence = False,
    as_json: AsJson = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Rank the products of a file for one query, each with its distribution.

    Example: gen-rerank rank runs/model "oak desk" --products shop --top 5 --min-tier close
    """
    from gen_rerank.evaluation.one_query import rank_products

    answer = rank_products(
        model,
        query,
        products,
        top=top,
        backend=backend,
        dtype=dtype,
        adapter=adapter,
        skip_bad_rows=skip_bad_rows,
        min_tier=min_tier,
        confidence=confidence,
    )
    list_left_out(error_console() if as_json else console(), answer.bad_rows)
    if as_json:
        say_json(answer.to_json())
        return
    say(f"scored with {answer.scored_with}")
    if answer.ranked:
        console().print(answer.table())
    for remark in answer.remarks:
        say(remark)
