"""`gen-rerank quantize` and `gen-rerank compare`.

What stands here is above all rooms, so that `--realign` can open `train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gen_rerank.checkpoints.schemes import SCHEMES
from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import Model, Out, SkipBadRows, Split, console, say, written

app = typer.Typer()

_COMPARE_EXAMPLES = """Example: gen-rerank compare runs/model runs/model-int8 --data shop --out runs/compare

gen-rerank compare runs/model --load-time nf4 --load-time int8 --data shop --out runs/compare

gen-rerank compare --print-gates > gates.yaml

gen-rerank compare runs/model runs/model-int8 --data shop --out runs/compare --gates gates.yaml && ./ship.sh
"""

# What options were called before, and are called now.
_RENAMED = {"--calibration": "--examples", "--calibration-pairs": "--example-pairs"}


def _say_renamed(parameter: typer.CallbackParam, value: Any) -> Any:
    """Say what an option is called now, where somebody gave the name that it had."""
    (before,) = parameter.opts
    if value is not None:
        typer.echo(f"{before} is now called {_RENAMED[before]}", err=True)
    return value


@app.command()
def quantize(
    model: Model,
    out: Out,
    scheme: Annotated[
        str,
        typer.Option("--scheme", help=", ".join(scheme.name for scheme in SCHEMES)),
    ] = "int8",
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            help="A data set whose training queries set the scales; some schemes need it. Test queries are never used.",
        ),
    ] = None,
    example_pairs: Annotated[
        int, typer.Option("--example-pairs", min=1, help="How many of its pairs, over all labels and slices.")
    ] = 512,
    realign: Annotated[
        Path | None,
        typer.Option("--realign", help="A data set: align the readout of the quantized model on it (train scalar)."),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="The recipe of --realign.")] = "realign",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    calibration: Annotated[Path | None, typer.Option("--calibration", hidden=True, callback=_say_renamed)] = None,
    calibration_pairs: Annotated[
        int | None, typer.Option("--calibration-pairs", min=1, hidden=True, callback=_say_renamed)
    ] = None,
) -> None:
    """Write a smaller checkpoint through llm-compressor; the readout stays as it is.

    Which scheme for which machine: docs/quantization.md; what this machine can serve: gen-rerank doctor; what it costs
    in quality: gen-rerank compare.

    Example: gen-rerank quantize runs/model --scheme int8 --examples shop --realign shop --out runs/model-int8
    """
    from quant.quantize import quantize as run

    align = None
    if realign is not None:
        from train.progress import quiet_libraries
        from train.recipe import Recipe
        from train.scalar import realignment

        quiet_libraries()
        align = realignment(Recipe.load(config), model, realign, console=console())
    checkpoint = run(
        model,
        scheme,
        out,
        calibration if examples is None else examples,
        example_pairs=calibration_pairs or example_pairs,
        align=align,
        overwrite=overwrite,
        console=console(),
    )
    made = checkpoint.card.provenance.quantization
    aligned = made is not None and made.realigned is not None  # without a gain the readout stays as it is
    say(f"{checkpoint.folder}: {scheme}{', re-aligned' if aligned else ''}, opened and scored")


def _print_gates(wanted: bool) -> None:
    if wanted:
        from quant.gates import Gates

        say(Gates().to_yaml().rstrip())
        raise typer.Exit


PrintGates = Annotated[
    bool, typer.Option("--print-gates", callback=_print_gates, is_eager=True, help="Print the default gates and stop.")
]


@app.command(epilog=_COMPARE_EXAMPLES)
def compare(
    reference: Annotated[str, typer.Argument(help="The checkpoint in full precision.", show_default=False)],
    candidates: Annotated[
        list[str] | None, typer.Argument(help="Checkpoints that were made from it.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder with products, queries and judgments.", show_default=False)
    ] = None,
    out: Annotated[Path | None, written("--out", "A folder for report.html, report.md and comparison.json.")] = None,
    gates: Annotated[
        Path | None, typer.Option("--gates", help="A YAML file of limits; --print-gates prints one to start from.")
    ] = None,
    split: Split = "test",
    load_time: Annotated[
        list[str] | None,
        typer.Option("--load-time", help="nf4 or int8: also the reference quantized by bitsandbytes while it loads."),
    ] = None,
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure start-up, memory, throughput and latency too.")
    ] = True,
    visits: Annotated[int, typer.Option("--visits", min=1, help="How often each system's cost is measured.")] = 3,
    candidates_per_query: Annotated[
        int, typer.Option("--candidates-per-query", min=2, help="Of the queries whose latency is measured.")
    ] = 64,
    skip_bad_rows: SkipBadRows = False,
    quantized_reference: Annotated[
        bool, typer.Option("--quantized-reference", help="Let the reference be a quantized checkpoint.")
    ] = False,
    print_gates: PrintGates = False,
) -> None:
    """Say whether quantized checkpoints can replace the one they were made from: quality, drift, cost, gates.

    Quality is measured with transformers, where every scheme runs; cost with vLLM, where it has a kernel. The exit
    code is 0 when every gate of every candidate passes, 1 when one fails, and 2 when there was nothing to compare.
    """
    from quant.compare import ComparisonPlan
    from quant.compare import compare as run
    from quant.report.tables import tables

    if data is None or out is None:
        raise BadInput("--data and --out are needed: what to compare on, and where the report goes")
    plan = ComparisonPlan(
        reference=reference,
        candidates=tuple(candidates or ()),
        data=data,
        out=out,
        split=split,
        gates=gates,
        load_time=tuple(load_time or ()),
        cost=cost,
        visits=visits,
        candidates_per_query=candidates_per_query,
        skip_bad_rows=skip_bad_rows,
        quantized_reference=quantized_reference,
    )
    comparison = run(plan, console())
    for table in tables(comparison):
        console().print(table)
    say(f"{out / 'report.html'}  {out / 'report.md'}  {out / 'comparison.json'}")
    if not comparison.passed:
        raise typer.Exit(1)
