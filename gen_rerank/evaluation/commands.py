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
    from gen_rerank.offline.scoring import Engine

app = typer.Typer()

DrawnQueries = Annotated[
    int | None, typer.Option("--queries", min=1, help="With --index: so many queries, drawn by a seeded hash.")
]
PricedRules = Annotated[
    Path | None, typer.Option("--rules", help="With --index: say what each rule of this file costs.")
]

_SCORE_EXAMPLES = """Example: gen-rerank score runs/model pairs --out runs/scores

gen-rerank score runs/model ids.parquet --data shop --out runs/scores

gen-rerank score runs/model --queries shop/queries.jsonl --index runs/index --out runs/tuesday --reuse runs/monday

gen-rerank score runs/model shop --out scores.jsonl --backend vllm
"""

_EVALUATE_EXAMPLES = """Example: gen-rerank evaluate runs/model shop --out evaluation.json

gen-rerank evaluate runs/small runs/small-int8 shop --gate "ndcg@5 of B - A >= -0.005" && ./ship.sh

gen-rerank evaluate runs/new shop --baseline evaluation.json --gate "ndcg@5 of A - baseline >= 0" --json

gen-rerank evaluate runs/model shop --index runs/index --plot headroom.svg --rules rules.yaml
"""


_Pairs = Annotated[
    Path | None,
    typer.Argument(
        metavar="PAIRS",
        help="Pairs: .jsonl, .jsonl.gz, .parquet or a folder of them; or a data folder, for its judged pairs.",
    ),
]
_Joined = Annotated[Path | None, typer.Option("--data", help="A data folder: pairs of ids get its texts.")]
_Asked = Annotated[Path | None, typer.Option("--queries", help="A file of queries, whose candidates --index finds.")]
_Index = Annotated[Path | None, typer.Option("--index", help="A folder that gen-rerank index wrote.")]
_Top = Annotated[int, typer.Option("--top", min=1, help="With --index: how many candidates of a query.")]
_Reuse = Annotated[
    Path | None, typer.Option("--reuse", help="Scores of an earlier run: what has not changed is taken from it.")
]
_ShardRows = Annotated[
    int, typer.Option("--shard-rows", min=1, help="The most rows of a file of scores; a killed run loses as many.")
]
_Engine = Annotated[str, typer.Option("--engine", help="local: in this process; ray: in workers.")]
_Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Of Ray; by default one a GPU, or as many as fit.")
]
_WorkerCores = Annotated[
    int | None, typer.Option("--worker-cores", min=1, help="Of a worker of Ray's; by default up to four.")
]
_Address = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster: HOST:PORT, or auto; by default Ray starts here.")
]
_OfSplit = Annotated[str, typer.Option("--split", help="Of a data folder: train, validation or test.")]
_SkipOfData = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Of a data folder: leave bad rows out, and count them.")
]


@app.command(epilog=_SCORE_EXAMPLES)
def score(
    model: Model,
    out: Out,
    pairs: _Pairs = None,
    data: _Joined = None,
    queries: _Asked = None,
    index: _Index = None,
    top: _Top = 256,
    reuse: _Reuse = None,
    shard_rows: _ShardRows = 4096,
    engine: _Engine = "local",
    workers: _Workers = None,
    worker_cores: _WorkerCores = None,
    address: _Address = None,
    split: _OfSplit = "test",
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    adapter: AdapterName = None,
    skip_bad_rows: _SkipOfData = False,
    as_json: AsJson = False,
) -> None:
    """Write the distribution of every pair: each once, whatever is killed on the way.

    Pairs become a folder of Parquet files. The same command goes on with a run that was killed. The judged pairs of a
    data folder's split become one file of JSON Lines.
    """
    from gen_rerank.data.dataset import is_data_folder
    from gen_rerank.offline.plan import ScoringPlan
    from gen_rerank.offline.scoring import score_offline

    if pairs is not None and is_data_folder(pairs):
        if engine != "local" or any(given is not None for given in (data, queries, index, reuse)):
            raise BadInput(
                f"{pairs}: is a data folder, of which judged pairs are scored; --data, --queries, --index, --reuse and "
                "--engine go with pairs"
            )
        _score_split(model, pairs, out, split, backend, dtype, adapter, skip_bad_rows, as_json)
        return
    plan = ScoringPlan(
        model,
        out,
        pairs=pairs,
        data=data,
        queries=queries,
        index=index,
        top=top,
        backend=backend,
        dtype=dtype,
        adapter=adapter,
        reuse=reuse,
        shard_rows=shard_rows,
    )
    report = score_offline(plan, _engine(engine, address, workers, worker_cores))
    if as_json:
        say_json(report.to_json())
        return
    for line in report.shown():
        say(line)


def _engine(name: str, address: str | None, workers: int | None, cores: int | None) -> Engine:
    """Return what gives slices to workers; Ray is imported for its own alone."""
    from gen_rerank.offline.scoring import score_here

    if name == "ray":
        from gen_rerank.offline.ray_engine import RayEngine

        return RayEngine(address, workers, cores)
    if name != "local":
        raise BadInput(f"there is no engine {name!r}; choose local or ray")
    if any(given is not None for given in (workers, cores, address)):
        raise BadInput("--workers, --worker-cores and --address go with --engine ray")
    return score_here


def _score_split(
    model: str,
    data: Path,
    out: Path,
    split: str,
    backend: str,
    dtype: str,
    adapter: str | None,
    skip_bad_rows: bool,
    as_json: bool,
) -> None:
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
    queries: DrawnQueries = None,
    plot: Annotated[Path | None, written("--plot", "With --index: draw the headroom as SVG.")] = None,
    rules: PricedRules = None,
    as_json: AsJson = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Measure ranking and calibration beside the floors random and BM25, with 95% intervals, per slice.

    Each model is compared with the --baseline, and of up to three models every pair; of more, each with the baseline
    alone, or without one with the first model. In gates they are called by their folders, or A, B, C in the order
    given; a gate is judged on the worse end of the 95% interval.

    With --index the candidates come from an index: recall of its lists, what a better retrieval or a better reranker
    would gain, and with --rules what each rule of a shop costs.
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
        _evaluate_index(plan, index, queries, plot, rules, as_json)
        return
    if queries is not None or plot is not None or rules is not None:
        raise BadInput("--queries, --plot and --rules go with --index")
    report = evaluate_models(plan)
    show_report(report, as_json=as_json)
    if not report.found.passed:
        raise typer.Exit(1)


def _evaluate_index(
    plan: EvaluationPlan, index: Path, queries: int | None, plot: Path | None, rules: Path | None, as_json: bool
) -> None:
    from gen_rerank.search.judging import RetrievalPlan, evaluate_retrieval

    show_report(evaluate_retrieval(RetrievalPlan(plan, index, queries, plot, rules)), as_json=as_json)


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
