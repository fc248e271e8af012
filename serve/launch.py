"""`serve_model`: the server, in this process, from a checkpoint's name to the last answer.

It checks everything that is cheap to check, lets `gen_rerank.scorers.engine_plan` choose the engine's settings and runs
vLLM's own API server with our plugin; from Python, because the `vllm serve` command does not exist in the CPU build. As a
child of another process it is `gen_rerank.system.server`'s.
"""

from __future__ import annotations

import os
import signal
import socket
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from prometheus_client import CollectorRegistry

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from gen_rerank.scorers.engine_plan import EngineChoices, plan
from gen_rerank.scorers.vllm import engine_arguments, lora_arguments
from gen_rerank.system.processes import LOOPBACK, scratch_folder
from serve.access import Keys
from serve.lifecycle import Lifecycle, end_now
from serve.models import open_adapter
from serve.options import ServeOptions
from serve.telemetry import Telemetry
from serve.vllm_support import why_not_served

_PLUGIN = "gen_rerank"
# They add routes of vLLM's that pass by our keys, our adapter folder and our queue.
_BACK_DOORS = ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE")
# vLLM's arguments that would change what is scored, or pass by what we check, and what a person does instead.
_CHECKPOINT = "the checkpoint says how it is prompted and read"
_ADAPTERS = "use --adapter NAME=PATH, --adapter-folder, --max-adapters and --max-adapter-rank"
_OURS = {
    "model": "give the checkpoint as MODEL",
    "tokenizer": _CHECKPOINT,
    "runner": _CHECKPOINT,
    "convert": _CHECKPOINT,
    "pooler_config": _CHECKPOINT,
    "hf_config_path": _CHECKPOINT,
    "hf_overrides": _CHECKPOINT,
    "max_model_len": f"{_CHECKPOINT}, and its prompts are cut to their length before",
    "max_num_batched_tokens": "use --batch-tokens, which checks that the longest prompt fits",
    "max_num_queued_reqs": "use --max-queued-pairs, which refuses a whole request and not a part of it",
    "max_num_queued_tokens": "use --max-queued-pairs, which refuses a whole request and not a part of it",
    "enable_lora": _ADAPTERS,
    "max_loras": _ADAPTERS,
    "max_cpu_loras": _ADAPTERS,
    "max_lora_rank": _ADAPTERS,
    "lora_modules": _ADAPTERS,
    "lora_target_modules": "an adapter says itself which layers it changes",
    "host": "use --host",
    "port": "use --port",
    "served_model_name": "use --name",
    "api_key": "it leaves routes open; use --keys",
    "worker_extension_cls": "gen-rerank has one of its own",
    "api_server_count": "queue, caches and adapters live in one process",
}
_API_KEY = "VLLM_API_KEY"
# How long vLLM waits for its engine to exit by itself once all requests are answered, and how long we wait for vLLM.
_ENGINE_SECONDS = 30
_SEND_SECONDS = 5


def serve_model(
    model: str,
    *,
    host: str = LOOPBACK,
    port: int = 8000,
    options: ServeOptions = ServeOptions(),  # noqa: B008 - frozen
    choices: EngineChoices = EngineChoices(),  # noqa: B008 - frozen
    say: Callable[[str], None] = lambda line: None,
    vllm: Sequence[str] = (),
) -> None:
    """Serve a checkpoint until the process is told to stop (SIGTERM or SIGINT).

    Args:
        model: a checkpoint folder or a hub name.
        host: the address to listen on.
        port: the port to listen on.
        options: how clients are treated.
        choices: the engine's settings that a person chose, and whether packed weights are unpacked for it.
        say: is given lines for the person who starts the server.
        vllm: further arguments of vLLM's API server, as its command line takes them; they win over ours, and those that
            would break what we rely on are refused.

    Raises:
        BadInput: the checkpoint, an adapter, a file or a setting is refused, or the port is taken.
        EngineDied: the engine, or the server, stopped by itself.
    """
    checkpoint = Checkpoint.open(model)
    _check(checkpoint, options)
    _check_address(host, port)
    for switch in _BACK_DOORS:
        os.environ.pop(switch, None)
    os.environ["VLLM_PLUGINS"] = _with_our_plugin(os.environ.get("VLLM_PLUGINS"))
    lifecycle = Lifecycle(options.drain_seconds)
    with _weights(checkpoint, choices, say) as weights:
        planned = plan(weights, choices)
        for name, choice in planned.lines():
            say(f"{name:<12} {choice.value}" + (f" ({choice.reason})" if choice.reason else ""))
        _check_kernel(weights, choices)
        ours = engine_arguments(weights, dtype=choices.dtype, **planned.arguments()) | _lora(options)
        served = options.name or model
        arguments = _arguments(ours, vllm, host=host, port=port, served_model_name=[served])
        _check_parts(weights, arguments.tensor_parallel_size)
        vars(arguments).update(gen_rerank=options, gen_rerank_checkpoint=checkpoint, gen_rerank_lifecycle=lifecycle)
        say(f"starting the engine; then {served!r} answers on http://{host}:{port}, playground included")
        _run(model, arguments, lifecycle)


def _arguments(ours: dict[str, Any], vllm: Sequence[str], **server: Any) -> Namespace:
    """Return vLLM's arguments: ours for the engine and the server, and a person's, which win."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    parser = make_arg_parser(FlexibleArgumentParser(prog="gen-rerank serve MODEL --"))
    parser.set_defaults(
        **ours,
        **server,
        shutdown_timeout=_ENGINE_SECONDS,
        disable_uvicorn_access_log=True,  # every request has a line in our log
    )
    arguments: Namespace = parser.parse_args(list(vllm))
    for name, instead in _OURS.items():
        if getattr(arguments, name) != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise BadInput(f"{option} is chosen by gen-rerank and cannot be given to vLLM: {instead}")
    if os.environ.get(_API_KEY):
        raise BadInput(f"{_API_KEY} is set, but vLLM's key leaves routes open; unset it and use --keys")
    validate_parsed_serve_args(arguments)
    return arguments


def _run(model: str, arguments: Namespace, lifecycle: Lifecycle) -> None:
    """Run vLLM's server until it is told to stop; raises as `serve_model`."""
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server_worker, setup_server

    # Until the server answers: the event loop's own handlers wait for the loop, which does not run while the engine starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    lifecycle.watch_start()
    try:
        # h11, because the other parser has no limit on headers; in the seconds, answers that are ready are sent.
        address, listening = setup_server(arguments, reuse_port=False)
        worker = run_server_worker(address, listening, arguments, http="h11", timeout_graceful_shutdown=_SEND_SECONDS)
        uvloop.run(worker)
    except BadInput:
        raise
    except (RuntimeError, ValueError) as error:
        if lifecycle.started:
            raise EngineDied(f"the server stopped by itself ({first_line(error)})") from error
        raise BadInput(f"{model}: vLLM cannot serve this checkpoint here ({first_line(error)})") from error
    if lifecycle.engine_died:
        raise EngineDied("the engine stopped by itself; its last words are above")


def _interrupt(number: int, frame: FrameType | None) -> None:
    end_now("interrupted", code=128 + number)


class EngineDied(Exception):
    """The engine's process ended before anybody asked for it."""


def _check_kernel(checkpoint: Checkpoint, choices: EngineChoices) -> None:
    """Refuse a quantized checkpoint that vLLM has no kernel for before the engine starts, which takes long."""
    if not checkpoint.is_quantized:
        return
    reason = why_not_served(checkpoint, choices.dtype)
    if reason is not None:
        from gen_rerank.checkpoints.dequantize import scheme_of

        raise BadInput(
            f"{checkpoint.folder}: vLLM cannot serve {scheme_of(checkpoint)} on this machine ({reason}); "
            "--dequantize serves its weights in bfloat16"
        )


@contextmanager
def _weights(checkpoint: Checkpoint, choices: EngineChoices, say: Callable[[str], None]) -> Iterator[Checkpoint]:
    """Give the checkpoint whose files the engine opens: the one that is served, or its plain copy for as long as it runs."""
    if not choices.dequantize:
        yield checkpoint
        return
    from gen_rerank.checkpoints.dequantize import dequantize, megabytes, rounds_activations, scheme_of

    with scratch_folder() as folder:
        done = dequantize(checkpoint, folder)
        say(
            f"{'weights':<12} {scheme_of(checkpoint)}, unpacked in {done.seconds:.1f} s: {megabytes(done.packed_bytes)} are "
            f"{megabytes(done.plain_bytes)} in bfloat16, on disk ({folder}) and in memory; no speed or memory is gained here"
        )
        if rounds_activations(checkpoint):
            say(
                f"{'activations':<12} not rounded, though {scheme_of(checkpoint)} rounds them: scores are those of its weights"
            )
        yield done.checkpoint


def _check_parts(checkpoint: Checkpoint, parts: int) -> None:
    """Refuse to cut a decoder into parts where its readout rows lie: vLLM looks for them in the first part of the output matrix."""
    rows = int(checkpoint.config.get("vocab_size", 0)) // parts
    if parts > 1 and any(number >= rows for number in checkpoint.card.readout.token_ids):
        raise BadInput(
            f"--tensor-parallel-size {parts}: vLLM seeks the rows of {checkpoint.card.readout.tokens[-1]!r} and the others in the first "
            f"{rows:,} of the output matrix, where they are not; use --data-parallel-size, or one server a GPU"
        )


def _lora(options: ServeOptions) -> dict[str, Any]:
    if not (options.adapters or options.adapter_folder):
        return {}
    # One place more, so that an adapter can be replaced while all places are taken.
    return lora_arguments(options.max_adapter_rank, options.max_adapters + 1)


def _check(checkpoint: Checkpoint, options: ServeOptions) -> None:
    """Refuse now what would otherwise be refused after the engine has started, a minute later."""
    if options.keys is not None:
        Keys.read(options.keys)
    if options.log is not None:
        Telemetry(options.log, registry=CollectorRegistry()).close()
    if options.adapter_folder is not None and not options.adapter_folder.is_dir():
        raise BadInput(f"--adapter-folder {options.adapter_folder}: no such folder")
    if len(options.adapters) > options.max_adapters:
        raise BadInput(f"{len(options.adapters)} adapters are given; --max-adapters is {options.max_adapters}")
    names = [name for name, _ in options.adapters]
    if len(set(names)) < len(names):
        raise BadInput("two adapters have the same name; each --adapter NAME=PATH needs its own")
    for _, path in options.adapters:
        adapter = open_adapter(path, checkpoint)
        if adapter.rank > options.max_adapter_rank:
            raise BadInput(f"{adapter.folder}: rank {adapter.rank}; start with --max-adapter-rank {adapter.rank}")


def _check_address(host: str, port: int) -> None:
    """Try the address before vLLM is imported, which takes long."""
    if not 0 < port < 2**16:
        raise BadInput(f"a port is between 1 and {2**16 - 1}, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _with_our_plugin(allowed: str | None) -> str:
    names = allowed.split(",") if allowed else []
    return ",".join(names if _PLUGIN in names else [*names, _PLUGIN])
