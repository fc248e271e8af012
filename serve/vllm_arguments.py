"""The arguments of vLLM's API server: ours for the engine and the server, a person's, which win, and those refused.

What is refused would change what is scored, or pass by what we check; the sentence says what a person does instead.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from gen_rerank.errors import BadInput

_CHECKPOINT = "the checkpoint says how it is prompted and read"
_ADAPTERS = "use --adapter NAME=PATH, --adapter-folder, --max-adapters and --max-adapter-rank"
_ORIGINS = "use --cors-origin"
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
    "allowed_origins": _ORIGINS,
    "allowed_methods": _ORIGINS,
    "allowed_headers": _ORIGINS,
    "allow_credentials": "browsers send no cookies here, and keys are in a header; use --cors-origin",
    "api_server_count": "queue, caches and adapters live in one process",
}
_API_KEY = "VLLM_API_KEY"
# How long vLLM waits for its engine to exit by itself once all requests are answered.
_ENGINE_SECONDS = 30


def check_given(given: Sequence[str]) -> None:
    """Refuse an argument that is ours to choose by its name; call it before vLLM is imported, which takes long.

    Args:
        given: what a person gave, as on vLLM's command line. Other spellings of a name are `vllm_arguments`'s.

    Raises:
        BadInput: an argument is ours to choose.

    Example:
        >>> check_given(["--max-num-seqs", "8", "--port=9000"])
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: --port is chosen by gen-rerank and cannot be given to vLLM: use --port
    """
    for word in given:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in _OURS:
            raise _refusal(name)


def vllm_arguments(ours: dict[str, Any], given: Sequence[str]) -> Namespace:
    """Return all arguments of vLLM's API server.

    Args:
        ours: of the engine and the server, by the names that vLLM's parser gives them.
        given: what a person gave, as on vLLM's command line; it wins.

    Raises:
        BadInput: an argument that a person gave is ours to choose, or vLLM's own key is set in the environment.

    Example:
        >>> vllm_arguments({"model": "runs/model"}, ["--max-num-seqs", "8"]).max_num_seqs  # doctest: +SKIP
        8
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    parser = make_arg_parser(FlexibleArgumentParser(prog="gen-rerank serve MODEL --"))
    parser.set_defaults(
        **ours,
        shutdown_timeout=_ENGINE_SECONDS,
        disable_uvicorn_access_log=True,  # every request has a line in our log
    )
    arguments: Namespace = parser.parse_args(list(given))
    for name in _OURS:
        if getattr(arguments, name) != parser.get_default(name):
            raise _refusal(name)
    if os.environ.get(_API_KEY):
        raise BadInput(f"{_API_KEY} is set, but vLLM's key leaves routes open; unset it and use --keys")
    validate_parsed_serve_args(arguments)
    return arguments


def _refusal(name: str) -> BadInput:
    option = f"--{name.replace('_', '-')}"
    return BadInput(f"{option} is chosen by gen-rerank and cannot be given to vLLM: {_OURS[name]}")
