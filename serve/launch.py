"""`serve_model`: the server, in this process, from a checkpoint's name to the last answer.

It checks what can be checked before the start (`serve.preflight`), lets `gen_rerank.scorers.engine_plan` choose the
engine's settings and runs vLLM's own API server with our plugin; from Python, because the `vllm serve` command does not
exist in the CPU build. As a child of another process it is `gen_rerank.system.server`'s.
"""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from gen_rerank.scorers.engine_plan import EngineChoices, plan
from gen_rerank.scorers.vllm import engine_arguments, lora_arguments
from gen_rerank.system.processes import LOOPBACK, scratch_folder
from serve.lifecycle import Lifecycle, end_now
from serve.options import ServeOptions
from serve.preflight import check_address, check_kernel, check_options, check_readout_rows
from serve.vllm_arguments import check_given, vllm_arguments

_PLUGIN = "gen_rerank"
# They add routes of vLLM's that pass by our keys, our adapter folder and our queue.
_BACK_DOORS = ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE")
# In which the server sends answers that are ready when it is told to stop.
_SEND_SECONDS = 5


class EngineDied(Exception):
    """The engine's process ended before anybody asked for it."""


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
    check_options(checkpoint, options)
    check_address(host, port)
    check_given(vllm)
    _prepare_environment()
    lifecycle = Lifecycle(options.drain_seconds)
    with _opened_weights(checkpoint, choices, say) as weights:
        planned = plan(weights, choices)
        for name, setting in planned.lines():
            say(f"{name:<12} {setting.value}" + (f" ({setting.reason})" if setting.reason else ""))
        check_kernel(weights, choices)
        engine = engine_arguments(weights, dtype=choices.dtype, **planned.arguments()) | _lora(options)
        served = options.name or model
        server = {"host": host, "port": port, "served_model_name": [served]}
        # vLLM's own middleware for other origins stands in front of everything, the guard included.
        server |= {"allowed_origins": list(options.cors_origins)}
        arguments = vllm_arguments(engine | server, vllm)
        check_readout_rows(weights, arguments.tensor_parallel_size)
        vars(arguments).update(gen_rerank=options, gen_rerank_checkpoint=checkpoint, gen_rerank_lifecycle=lifecycle)
        say(f"starting the engine; then {served!r} answers on http://{host}:{port}, playground included")
        _run(model, arguments, lifecycle)


def _prepare_environment() -> None:
    """Close vLLM's back doors, and let it load our plugin; call it before vLLM is imported."""
    for switch in _BACK_DOORS:
        os.environ.pop(switch, None)
    allowed = os.environ.get("VLLM_PLUGINS")
    names = allowed.split(",") if allowed else []
    os.environ["VLLM_PLUGINS"] = ",".join(names if _PLUGIN in names else [*names, _PLUGIN])


@contextmanager
def _opened_weights(checkpoint: Checkpoint, choices: EngineChoices, say: Callable[[str], None]) -> Iterator[Checkpoint]:
    """Give the checkpoint whose files the engine opens: what is served, or its plain copy for as long as it runs."""
    if not choices.dequantize:
        yield checkpoint
        return
    from gen_rerank.checkpoints.dequantize import dequantize, megabytes, rounds_activations, scheme_of

    with scratch_folder() as folder:
        done = dequantize(checkpoint, folder)
        scheme = scheme_of(checkpoint)
        packed, plain = megabytes(done.packed_bytes), megabytes(done.plain_bytes)
        say(
            f"{'weights':<12} {scheme}, unpacked in {done.seconds:.1f} s: {packed} are {plain} in bfloat16, "
            f"on disk ({folder}) and in memory; no speed or memory is gained here"
        )
        if rounds_activations(checkpoint):
            say(f"{'activations':<12} not rounded, though {scheme} rounds them: scores are those of its weights")
        yield done.checkpoint


def _lora(options: ServeOptions) -> dict[str, Any]:
    if not (options.adapters or options.adapter_folder):
        return {}
    # One place more, so that an adapter can be replaced while all places are taken.
    return lora_arguments(options.max_adapter_rank, options.max_adapters + 1)


def _run(model: str, arguments: Namespace, lifecycle: Lifecycle) -> None:
    """Run vLLM's server until it is told to stop; raises as `serve_model`."""
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server_worker, setup_server

    # Until the server answers: the event loop's own handlers wait for the loop, which runs after the engine's start.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    lifecycle.watch_start()
    try:
        # h11, because the other parser has no limit on headers.
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
