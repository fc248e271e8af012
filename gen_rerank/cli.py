"""The command line. It holds no logic: each command parses, calls one function and prints what came back.

It is the one place that opens `train`, `quant` and `serve`, inside the command that needs them. Bad input ends with exit
code 2 and one sentence. So does a bug of ours, with its traceback: exit code 1 is a verdict of `compare`.
"""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gen_rerank import __version__
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(no_args_is_help=True, help="Train a checkpoint: phase 1 (distributional), phase 2 (scalar).")
app.add_typer(train_app, name="train")

# Piped output has no width of its own; tables need more than the 80 columns that would be assumed.
console = Console(width=None if sys.stdout.isatty() else 130)

Model = Annotated[str, typer.Argument(help="A checkpoint folder or a hub name.", show_default=False)]
Data = Annotated[Path, typer.Argument(help="A folder with products, queries and judgments.", show_default=False)]
DataOption = Annotated[
    Path, typer.Option("--data", help="A folder with products, queries and judgments.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", help="Where the result goes.", show_default=False)]
Config = Annotated[
    str,
    typer.Option("--config", help="A preset (nano, 0.6b, 1.3b, rexreranker-0.6b) or a YAML file of your own."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last saved state.")]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]
BackendName = Annotated[str, typer.Option("--backend", help="transformers or vllm.")]
AdapterName = Annotated[
    str | None, typer.Option("--adapter", help="A LoRA adapter of the model: a folder or a hub name.")
]
Products = Annotated[int, typer.Option("--products", min=1, help="How many products the sample shop has.")]
Queries = Annotated[int, typer.Option("--queries", min=1, help="How many queries the sample shop has.")]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave bad rows out, and count them.")]


# The groups of `serve`'s options.
_ADAPTERS, _CLIENTS, _ENGINE = "Adapters", "Clients", "Engine (chosen for the machine unless given)"
_SERVE_EXAMPLES = """Example: gen-rerank serve runs/model --port 8000 --name my-shop

gen-rerank serve runs/model --adapter garden=runs/garden --adapter toys=runs/toys

gen-rerank serve runs/model --keys keys.txt --adapter-folder runs/adapters --log requests.jsonl

gen-rerank serve runs/model -- --data-parallel-size 2 --gpu-memory-utilization 0.5

curl http://127.0.0.1:8000/v1/rerank -H 'Content-Type: application/json' -d '{"query": "oak desk", "documents": ["Oak desk", "Desk lamp"]}'
"""

_COMPARE_EXAMPLES = """Example: gen-rerank compare runs/model runs/model-int8 runs/model-mxfp4 --data shop --out runs/compare

gen-rerank compare runs/model --load-time nf4 --load-time int8 --data shop --out runs/compare

gen-rerank compare --print-gates > gates.yaml

gen-rerank compare runs/model runs/model-int8 --data shop --out runs/compare --gates gates.yaml && ./ship.sh
"""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where models, report and summary go.")] = Path("runs/demo"),
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
    from serve.launch import start_server

    Demo(out, seed=seed, config=config, products=products, queries=queries, console=console).run(start_server)


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
    console.print(
        f"{out}: {len(data.products):,} products, {len(data.queries):,} queries, {len(data.judgments):,} judgments"
    )


@train_app.command("distributional")
def train_distributional(
    data: DataOption,
    out: Out,
    config: Config = "nano",
    base: Annotated[str | None, typer.Option("--base", help="Replaces the recipe's base model.")] = None,
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Phase 1: learn the distribution of relevance, from a base model and graded judgments.

    A run that was interrupted goes on with --resume. On several GPUs: accelerate launch --config_file
    train/launch/ddp.yaml -m gen_rerank train distributional …

    Example: gen-rerank train distributional --config nano --data shop --out runs/phase1
    """
    _train_log()
    from train.phases import train_distributional as run
    from train.recipe import Recipe

    recipe = Recipe.load(config)
    recipe = recipe if base is None else recipe.model_copy(update={"base": base})
    checkpoint = run(recipe, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)
    _say_trained(checkpoint)


@train_app.command("scalar")
def train_scalar(
    model: Annotated[str, typer.Option("--model", help="The checkpoint of phase 1.", show_default=False)],
    data: DataOption,
    out: Out,
    config: Config = "nano",
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Phase 2: keep the backbone, align the score. The backbone reads each pair once; only the readout is trained.

    Example: gen-rerank train scalar --config nano --model runs/phase1 --data shop --out runs/model
    """
    _train_log()
    from train.phases import train_scalar as run
    from train.recipe import Recipe

    checkpoint = run(Recipe.load(config), model, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)
    _say_trained(checkpoint)


@train_app.command("adapter")
def train_adapter(
    base: Annotated[str, typer.Option("--base", help="A checkpoint with the bins readout.", show_default=False)],
    catalog: Annotated[
        Path, typer.Option("--catalog", help="A folder with products, queries and judgments.", show_default=False)
    ],
    out: Out,
    config: Annotated[
        str, typer.Option("--config", help="The preset (adapter) or a YAML file of your own.")
    ] = "adapter",
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """A LoRA for one shop: a few hundred judgments are enough to start. The base stays as it is.

    Training stops when the validation queries get no better. Without a gain on them no adapter is written.

    Example: gen-rerank train adapter --base runs/model --catalog my-shop --out runs/my-shop
    """
    _train_log()
    from train.adapter import train_adapter as run
    from train.recipe import Recipe

    adapter = run(Recipe.load(config), base, catalog, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console)
    console.print(f"{adapter.folder}: adapter of {adapter.card.base.name}, {adapter.folder / 'training.html'}")


@train_app.command("encoder")
def train_encoder(
    data: DataOption,
    out: Out,
    preset: Annotated[
        str, typer.Option("--preset", help="A size: micro (17M parameters), mini (68M), base (150M) or large (396M).")
    ] = "base",
    config: Annotated[
        str | None, typer.Option("--config", help="A YAML file of your own in place of the preset.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="What training starts from, in place of the preset's hub name: a folder, another hub name, minilm "
            "(22M parameters, this package's extra of that name), or none (a new model of the preset's shape).",
        ),
    ] = None,
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """The baseline: a cross-encoder with eleven labels, through sentence-transformers.

    The presets start from models of the hub; with --base none or minilm nothing is downloaded. First it shows the data
    and how long it may take (gen-rerank sample --out shop writes data to try it with). gen-rerank evaluate measures the
    result, and sentence-transformers' CrossEncoder opens it.

    Example: gen-rerank train encoder --preset micro --base none --data shop --out runs/encoder
    """
    _train_log()
    from train.encoder import EncoderRecipe
    from train.encoder import train_encoder as run

    recipe = EncoderRecipe.load(config or preset)
    chosen = recipe if base is None else recipe.with_base(base)
    _say_trained(run(chosen, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console))


@app.command()
def score(
    model: Model,
    data: Data,
    out: Out,
    split: Split = "test",
    backend: BackendName = "transformers",
    adapter: AdapterName = None,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Write the distribution of every judged pair of a split, as JSON Lines.

    Example: gen-rerank score runs/model shop --out scores.jsonl --backend vllm
    """
    from gen_rerank.commands import say_skipped, score_split

    done = score_split(model, data, split, backend, skip_bad_rows, out, adapter=adapter)
    say_skipped(console, done.bad_rows)
    console.print(f"{out}: {done.pairs:,} pairs, {done.pairs_per_second:,.0f} a second ({backend})")


@app.command()
def evaluate(
    model: Model,
    data: Data,
    split: Split = "test",
    backend: BackendName = "transformers",
    adapter: AdapterName = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the evaluation as JSON.")] = None,
    scores: Annotated[Path | None, typer.Option("--scores", help="Write the distributions as JSON Lines.")] = None,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Measure ranking and calibration beside the floors random and BM25, with 95% intervals, per slice.

    Example: gen-rerank evaluate runs/model shop --out evaluation.json
    """
    from gen_rerank.commands import evaluate_model, say_skipped

    report = evaluate_model(model, data, split, backend, skip_bad_rows, out, scores, adapter=adapter)
    say_skipped(console, report.bad_rows)
    for table in report.tables:
        console.print(table)


@app.command()
def quantize(
    model: Model,
    out: Out,
    scheme: Annotated[
        str,
        typer.Option("--scheme", help="fp8, fp8-block, mxfp4, mxfp4a16, int8, int8-smoothquant, w4a16-gptq or nvfp4."),
    ] = "int8",
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="A data set whose training queries set the scales; some schemes need it. Test queries are never used.",
        ),
    ] = None,
    calibration_pairs: Annotated[
        int, typer.Option("--calibration-pairs", min=1, help="How many of its pairs, over all labels and slices.")
    ] = 512,
    realign: Annotated[
        Path | None,
        typer.Option("--realign", help="A data set: align the readout of the quantized model on it (train scalar)."),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="The recipe of --realign.")] = "realign",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
) -> None:
    """Write a smaller checkpoint through llm-compressor; the readout stays as it is.

    Which scheme for which machine: docs/quantization.md; what this machine can serve: gen-rerank doctor; what it costs
    in quality: gen-rerank compare.

    Example: gen-rerank quantize runs/model --scheme int8 --calibration shop --realign shop --out runs/model-int8
    """
    from quant.quantize import quantize as run

    align = None
    if realign is not None:
        _train_log()
        from train.phases import realignment
        from train.recipe import Recipe

        align = realignment(Recipe.load(config), model, realign, console=console)
    checkpoint = run(
        model,
        scheme,
        out,
        calibration,
        calibration_pairs=calibration_pairs,
        align=align,
        overwrite=overwrite,
        console=console,
    )
    _say(f"{checkpoint.folder}: {scheme}{', re-aligned' if realign else ''}, opened and scored")


def _print_gates(wanted: bool) -> None:
    if wanted:
        from quant.gates import Gates

        _say(Gates().to_yaml().rstrip())
        raise typer.Exit


@app.command(epilog=_COMPARE_EXAMPLES)
def compare(
    reference: Annotated[str, typer.Argument(help="The checkpoint in full precision.", show_default=False)],
    candidates: Annotated[
        list[str] | None, typer.Argument(help="Checkpoints that were made from it.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder with products, queries and judgments.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for report.html, report.md and comparison.json.")
    ] = None,
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
    print_gates: Annotated[
        bool,
        typer.Option("--print-gates", callback=_print_gates, is_eager=True, help="Print the default gates and stop."),
    ] = False,
) -> None:
    """Say whether quantized checkpoints can replace the one they were made from: quality, drift, cost, gates.

    Quality is measured with transformers, where every scheme runs; cost with vLLM, where it has a kernel. The exit code is
    0 when every gate of every candidate passes, 1 when one fails, and 2 when there was nothing to compare.
    """
    from quant.compare import Plan
    from quant.compare import compare as run
    from quant.report import tables

    if data is None or out is None:
        raise BadInput("--data and --out are needed: what to compare on, and where the report goes")
    plan = Plan(
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
    )
    comparison = run(plan, console)
    for table in tables(comparison):
        console.print(table)
    _say(f"{out / 'report.html'}  {out / 'report.md'}  {out / 'comparison.json'}")
    if not comparison.passed:
        raise typer.Exit(1)


@app.command(epilog=_SERVE_EXAMPLES, context_settings={"allow_extra_args": True})
def serve(
    context: typer.Context,
    model: Model,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port to listen on.")] = 8000,
    name: Annotated[str | None, typer.Option("--name", help="What clients call the model; MODEL by default.")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter", rich_help_panel=_ADAPTERS, metavar="NAME=PATH", help="Serve a LoRA adapter too; repeatable."
        ),
    ] = None,
    adapter_folder: Annotated[
        Path | None,
        typer.Option(
            "--adapter-folder",
            rich_help_panel=_ADAPTERS,
            help="Adapters may be loaded at run time from below this folder.",
        ),
    ] = None,
    max_adapters: Annotated[
        int, typer.Option("--max-adapters", rich_help_panel=_ADAPTERS, min=1, help="Adapters served at once.")
    ] = 4,
    max_adapter_rank: Annotated[
        int, typer.Option("--max-adapter-rank", rich_help_panel=_ADAPTERS, min=1, help="The largest rank.")
    ] = 32,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", rich_help_panel=_CLIENTS, help="Who may ask: a file made by `gen-rerank add-key`."),
    ] = None,
    max_documents: Annotated[
        int, typer.Option("--max-documents", rich_help_panel=_CLIENTS, min=1, help="Pairs of one request.")
    ] = 1024,
    max_body: Annotated[
        int, typer.Option("--max-body-mib", rich_help_panel=_CLIENTS, min=1, help="Size of one request's body.")
    ] = 32,
    max_queued: Annotated[
        int,
        typer.Option(
            "--max-queued-pairs",
            rich_help_panel=_CLIENTS,
            min=1,
            help="Pairs waiting or being scored; past it clients get 429.",
        ),
    ] = 16_384,
    deadline: Annotated[
        float, typer.Option("--deadline", rich_help_panel=_CLIENTS, min=0.1, help="Seconds that a request may take.")
    ] = 120.0,
    body_seconds: Annotated[
        float,
        typer.Option(
            "--body-timeout", rich_help_panel=_CLIENTS, min=0.1, help="Seconds that a client has to send its body."
        ),
    ] = 30.0,
    drain: Annotated[
        float, typer.Option("--drain", rich_help_panel=_CLIENTS, min=0.0, help="Seconds to finish in after SIGTERM.")
    ] = 30.0,
    score_cache: Annotated[
        int,
        typer.Option(
            "--score-cache", rich_help_panel=_CLIENTS, min=0, help="How many scores are remembered; 0 turns it off."
        ),
    ] = 200_000,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", rich_help_panel=_CLIENTS, help="Where each request's line of JSON goes; stderr by default."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", rich_help_panel=_ENGINE, help="Cores that compute (CPU).")
    ] = None,
    cache_gib: Annotated[
        float | None, typer.Option("--cache-gib", rich_help_panel=_ENGINE, help="Memory for products' keys and values.")
    ] = None,
    block_size: Annotated[
        int | None, typer.Option("--block-size", rich_help_panel=_ENGINE, help="Tokens of a block of that cache.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", rich_help_panel=_ENGINE, help="Tokens of one forward pass.")
    ] = None,
    batch_prompts: Annotated[
        int | None, typer.Option("--batch-prompts", rich_help_panel=_ENGINE, help="Prompts of one forward pass.")
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", rich_help_panel=_ENGINE, help="Slower start, faster scoring; chosen by size."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", rich_help_panel=_ENGINE, help="bfloat16, float16 or float32.")
    ] = None,
    dequantize: Annotated[
        bool,
        typer.Option(
            "--dequantize",
            rich_help_panel=_ENGINE,
            help="Unpack quantized weights to bfloat16 first, for schemes that this machine has no kernel for.",
        ),
    ] = False,
) -> None:
    """Serve a checkpoint to the clients people have, on vLLM's own API server.

    Cohere (v1, v2), Jina, text-embeddings-inference, vLLM's score and OpenAI's completions; a page to play with is at
    /playground, the list of routes at /docs. What stands after -- are arguments of vLLM's own server.
    """
    from gen_rerank.scorers.engine_plan import EngineChoices, dtype_of
    from serve.launch import EngineDied, serve_model
    from serve.options import ServeOptions, named_adapter

    options = ServeOptions(
        name=name,
        adapters=tuple(named_adapter(given) for given in adapter or ()),
        adapter_folder=adapter_folder,
        max_adapters=max_adapters,
        max_adapter_rank=max_adapter_rank,
        keys=keys,
        max_documents=max_documents,
        max_body_bytes=max_body * 2**20,
        max_queued_pairs=max_queued,
        body_seconds=body_seconds,
        deadline_seconds=deadline,
        drain_seconds=drain,
        score_cache=score_cache,
        log=log,
    )
    choices = EngineChoices(
        threads=threads,
        cache_gib=cache_gib,
        block_size=block_size,
        batch_tokens=batch_tokens,
        batch_prompts=batch_prompts,
        compiled=compiled,
        dtype=dtype_of(dtype),
        dequantize=dequantize,
    )
    try:
        serve_model(model, host=host, port=port, options=options, choices=choices, say=_say, vllm=context.args)
    except EngineDied as error:
        _stop(str(error), 1)


@app.command()
def doctor(
    out: Annotated[Path | None, typer.Option("--out", help="Write what was found as JSON.")] = None,
) -> None:
    """Say what this machine can train, quantize and serve, and why not; of each scheme vLLM itself is asked.

    It takes about half a minute: vLLM builds a small layer of each scheme, and its answer is compared with plain torch.

    Example: gen-rerank doctor --out doctor.json
    """
    from serve.doctor import examine, tables

    if out is not None:
        out.touch()  # before the work, so that a path that cannot be written is known now
    found = examine(console)
    for table in tables(found):
        console.print(table)
    if out is not None:
        out.write_text(found.to_json(), encoding="utf-8")


@app.command("add-key")
def add_key(
    file: Annotated[Path, typer.Argument(help="The file of keys, made when it is not there.", show_default=False)],
    label: Annotated[str, typer.Argument(help="Whose key it is; the log names it.", show_default=False)],
    admin: Annotated[bool, typer.Option("--admin", help="It may load and unload adapters.")] = False,
) -> None:
    """Make an API key, print it this once, and add its hash to the file that `serve --keys` reads.

    Example: gen-rerank add-key keys.txt shop-frontend
    """
    from serve.access import add_key

    _say(add_key(file, label, admin))


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rerankers for product search that read relevance as a distribution over eleven bins."""


def _say_trained(checkpoint: Checkpoint) -> None:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in (checkpoint.card.provenance.metrics or {}).items())
    console.print(f"{checkpoint.folder}: {figures}; {checkpoint.folder / 'training.html'}")


def _train_log() -> None:
    """Say what training says, and hide the bars and remarks of the libraries under it: there is one progress bar."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("train").setLevel(logging.INFO)
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def main() -> None:
    """Run the command line; turn what users can cause into one sentence and an exit code."""
    # It looks for optional kernels when it is imported and warns that a CPU has none; nothing here needs them.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        app()
    except BadInput as error:
        _stop(str(error), 2)
    except ModuleNotFoundError as error:
        _stop(
            f"the package {error.name!r} is not installed; install the extra that this command needs (see README.md)", 2
        )
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except OSError as error:
        full = " (the disk is full)" if error.errno == errno.ENOSPC else ""
        _stop(f"{error.filename or 'input/output'}: {error.strerror or error}{full}", 2)
    except Exception as error:  # nobody's input: a bug, and whoever reports it needs the place
        traceback.print_exc()
        _stop(f"gen-rerank failed: {type(error).__name__}: {first_line(error)}; this is a bug", 2)


def _stop(sentence: str, code: int) -> None:
    Console(stderr=True, soft_wrap=True).print(f"error: {sentence}", markup=False, highlight=False)
    sys.exit(code)
