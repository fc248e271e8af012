"""What is checked before the engine starts, which takes long: address, files, adapters, kernels, readout rows.

Each check refuses in one sentence what would otherwise fail later and in other words.
"""

from __future__ import annotations

import socket

from prometheus_client import CollectorRegistry

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.scorers.engine_plan import EngineChoices
from serve.access import Keys
from serve.models import open_adapter
from serve.options import ServeOptions
from serve.telemetry import Telemetry
from serve.vllm_support import why_not_served


def check_options(checkpoint: Checkpoint, options: ServeOptions) -> None:
    """Open what the options name, and close it again.

    Raises:
        BadInput: a file or a folder cannot be opened, an adapter is refused or too large, or there are too many.
    """
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


def check_address(host: str, port: int) -> None:
    """Listen on an address for a moment; call it before vLLM is imported, which takes long.

    Raises:
        BadInput: the port is none, or taken, or the host is not this machine's.

    Example:
        >>> check_address("127.0.0.1", 8000)  # doctest: +SKIP
    """
    if not 0 < port < 2**16:
        raise BadInput(f"a port is between 1 and {2**16 - 1}, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}") from error


def check_kernel(checkpoint: Checkpoint, choices: EngineChoices) -> None:
    """Ask vLLM whether it has a kernel for a quantized checkpoint; a plain one passes.

    Args:
        checkpoint: whose files the engine opens.
        choices: of the engine's settings; the number type matters.

    Raises:
        BadInput: vLLM has none on this machine.
    """
    if not checkpoint.is_quantized:
        return
    reason = why_not_served(checkpoint, choices.dtype)
    if reason is not None:
        from gen_rerank.checkpoints.dequantize import scheme_of

        raise BadInput(
            f"{checkpoint.folder}: vLLM cannot serve {scheme_of(checkpoint)} on this machine ({reason}); "
            "--dequantize serves its weights in bfloat16"
        )


def check_readout_rows(checkpoint: Checkpoint, parts: int) -> None:
    """Check that a decoder can be cut into parts: vLLM seeks the readout's rows in the output matrix's first.

    Args:
        checkpoint: whose files the engine opens.
        parts: vLLM's tensor parallel size; 1 cuts nothing.

    Raises:
        BadInput: a row lies in another part.
    """
    rows = int(checkpoint.config.get("vocab_size", 0)) // parts
    readout = checkpoint.card.readout
    if parts > 1 and any(number >= rows for number in readout.token_ids):
        raise BadInput(
            f"--tensor-parallel-size {parts}: vLLM seeks the rows of {readout.tokens[-1]!r} and the others "
            f"in the first {rows:,} of the output matrix, where they are not; "
            "use --data-parallel-size, or one server a GPU"
        )
