"""`gen-rerank serve`, `gen-rerank doctor` and `gen-rerank add-key`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen_rerank.reporting.shell import Model, console, say, stop

app = typer.Typer()

# The groups of `serve`'s options.
_ADAPTERS, _CLIENTS, _ENGINE = "Adapters", "Clients", "Engine (chosen for the machine unless given)"
_SERVE_EXAMPLES = """Example: gen-rerank serve runs/model --port 8000 --name my-shop

gen-rerank serve runs/model --adapter garden=runs/garden --adapter toys=runs/toys

gen-rerank serve runs/model --keys keys.txt --adapter-folder runs/adapters --log requests.jsonl

gen-rerank serve runs/model -- --data-parallel-size 2 --gpu-memory-utilization 0.5

curl http://127.0.0.1:8000/v1/rerank -H 'Content-Type: application/json' -d '{"query": "oak desk", "documents": ["Oak desk", "Desk lamp"]}'
"""


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
        serve_model(model, host=host, port=port, options=options, choices=choices, say=say, vllm=context.args)
    except EngineDied as error:
        stop(str(error), 1)


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
    found = examine(console())
    for table in tables(found):
        console().print(table)
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

    say(add_key(file, label, admin))
