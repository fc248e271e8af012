"""`gen-rerank serve`, `gen-rerank doctor` and `gen-rerank add-key`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from gen_rerank.reporting.shell import Model, console, say, stop, written
from serve.options import ServeOptions, named_adapter
from serve.phrases import Phrase

app = typer.Typer()

# `serve`'s options: those of the server itself, and three groups.
_adapters = partial(typer.Option, rich_help_panel="Adapters")
_clients = partial(typer.Option, rich_help_panel="Clients")
_engine = partial(typer.Option, rich_help_panel="Engine (chosen for the machine unless given)")

Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="The port to listen on.")]
Name = Annotated[str | None, typer.Option("--name", help="What clients call the model; MODEL by default.")]

GivenAdapters = Annotated[
    list[str] | None, _adapters("--adapter", metavar="NAME=PATH", help="Serve a LoRA adapter too; repeatable.")
]
AdapterFolder = Annotated[
    Path | None, _adapters("--adapter-folder", help="Adapters may be loaded at run time from below this folder.")
]
MaxAdapters = Annotated[int, _adapters("--max-adapters", min=1, help="Adapters served at once.")]
MaxAdapterRank = Annotated[int, _adapters("--max-adapter-rank", min=1, help="The largest rank.")]

KeyFile = Annotated[Path | None, _clients("--keys", help="Who may ask: a file made by `gen-rerank add-key`.")]
CorsOrigins = Annotated[
    list[str] | None,
    _clients("--cors-origin", metavar="URL", help="Web pages from here may read answers; repeatable, * for all."),
]
EmptyDocuments = Annotated[
    Literal["refuse", "last"],
    _clients("--empty-documents", help="Refuse a request with a document without text, or rank such documents last."),
]
Phrases = Annotated[
    list[str] | None,
    _clients("--phrase", metavar="TEXT", help="Words around {product} in decisions, to be taken off; repeatable."),
]
MaxDocuments = Annotated[int, _clients("--max-documents", min=1, help="Pairs of one request.")]
MaxBody = Annotated[int, _clients("--max-body-mib", min=1, help="Size of one request's body.")]
MaxQueued = Annotated[
    int, _clients("--max-queued-pairs", min=1, help="Pairs waiting or being scored; past it clients get 429.")
]
Deadline = Annotated[float, _clients("--deadline", min=0.1, help="Seconds that a request may take.")]
BodySeconds = Annotated[float, _clients("--body-timeout", min=0.1, help="Seconds that a client has to send its body.")]
Drain = Annotated[float, _clients("--drain", min=0.0, help="Seconds to finish in after SIGTERM.")]
CachedScores = Annotated[int, _clients("--score-cache", min=0, help="How many scores are remembered; 0 turns it off.")]
Log = Annotated[Path | None, _clients("--log", help="Where each request's line of JSON goes; stderr by default.")]

Threads = Annotated[int | None, _engine("--threads", help="Cores that compute (CPU).")]
CacheGib = Annotated[float | None, _engine("--cache-gib", help="Memory for products' keys and values.")]
BlockSize = Annotated[int | None, _engine("--block-size", help="Tokens of a block of that cache.")]
BatchTokens = Annotated[int | None, _engine("--batch-tokens", help="Tokens of one forward pass.")]
BatchPrompts = Annotated[int | None, _engine("--batch-prompts", help="Prompts of one forward pass.")]
Compiled = Annotated[
    bool | None, _engine("--compile/--no-compile", help="Slower start, faster scoring; chosen by size.")
]
DtypeName = Annotated[str | None, _engine("--dtype", help="bfloat16, float16 or float32.")]
Dequantize = Annotated[
    bool,
    _engine(
        "--dequantize",
        help="Unpack quantized weights to bfloat16 first, for schemes that this machine has no kernel for.",
    ),
]

_REQUEST = """-d '{"query": "oak desk", "documents": ["Oak desk", "Desk lamp"]}'"""
_SERVE_EXAMPLES = f"""Example: gen-rerank serve runs/model --port 8000 --name my-shop

gen-rerank serve runs/model --adapter garden=runs/garden --adapter toys=runs/toys

gen-rerank serve runs/model --keys keys.txt --adapter-folder runs/adapters --log requests.jsonl

gen-rerank serve runs/model -- --data-parallel-size 2 --gpu-memory-utilization 0.5

curl http://127.0.0.1:8000/v1/rerank -H 'Content-Type: application/json' {_REQUEST}

It speaks to clients of OpenAI (decisions, completions), Cohere (v1, v2), Jina, text-embeddings-inference and vLLM; a
page to play with is at /playground, the list of routes at /docs. What stands after -- are arguments of vLLM's own
server.
"""


@app.command(epilog=_SERVE_EXAMPLES, context_settings={"allow_extra_args": True})
def serve(
    context: typer.Context,
    model: Model,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    name: Name = None,
    adapter: GivenAdapters = None,
    adapter_folder: AdapterFolder = None,
    max_adapters: MaxAdapters = 4,
    max_adapter_rank: MaxAdapterRank = 32,
    keys: KeyFile = None,
    cors_origin: CorsOrigins = None,
    empty_documents: EmptyDocuments = "refuse",
    phrase: Phrases = None,
    max_documents: MaxDocuments = 1024,
    max_body: MaxBody = 32,
    max_queued: MaxQueued = 16_384,
    deadline: Deadline = 120.0,
    body_seconds: BodySeconds = 30.0,
    drain: Drain = 30.0,
    score_cache: CachedScores = 200_000,
    log: Log = None,
    threads: Threads = None,
    cache_gib: CacheGib = None,
    block_size: BlockSize = None,
    batch_tokens: BatchTokens = None,
    batch_prompts: BatchPrompts = None,
    compiled: Compiled = None,
    dtype: DtypeName = None,
    dequantize: Dequantize = False,
) -> None:
    """Serve a checkpoint to the clients people have, on vLLM's own API server."""
    from gen_rerank.scorers.engine_plan import EngineChoices, dtype_of
    from serve.launch import EngineDied, serve_model

    options = ServeOptions(
        name=name,
        adapters=tuple(named_adapter(given) for given in adapter or ()),
        adapter_folder=adapter_folder,
        max_adapters=max_adapters,
        max_adapter_rank=max_adapter_rank,
        keys=keys,
        cors_origins=tuple(cors_origin or ()),
        empty_documents=empty_documents,
        phrases=tuple(map(Phrase.of, phrase or ())),
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
        serve_model(model, host=host, port=port, options=options, choices=choices, say=say, vllm=context.args)
    except EngineDied as error:
        stop(str(error), 1)


@app.command()
def doctor(
    out: Annotated[Path | None, written("--out", "Write what was found as JSON.")] = None,
) -> None:
    """Say what this machine can train, quantize and serve, and why not; of each scheme vLLM itself is asked.

    It takes about half a minute: vLLM builds a small layer of each scheme, and its answer is compared with plain torch.

    Example: gen-rerank doctor --out doctor.json
    """
    from gen_rerank.system.publishing import require_writable_file, write_text_whole
    from serve.doctor import examine, tables

    if out is not None:
        require_writable_file(out)
    found = examine(console())
    for table in tables(found):
        console().print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(out, found.to_json())


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

    say(add_key(file, label, admin))
