"""The fast backend: vLLM's engine, asked for the readout logits of many prompts at once.

vLLM turns a causal checkpoint into a classifier whose labels are the readout tokens: after the weights are loaded it
copies their rows of the output matrix into a small float32 head, and the last position of each prompt goes through it.
Nothing is decoded and the vocabulary's logits never exist. We ask for logits, not probabilities, because the
checkpoint's temperature divides logits. An encoder with a classification head is served as it is, and a LoRA adapter
goes with each request.

`engine_arguments` and `lora_arguments` say how a checkpoint is opened, and `gen_rerank.scorers.engine_plan` with which
settings of this machine; the server uses the same, so that offline and online scores come from one configuration. HTTP
is none of this module's business.

vLLM is imported inside functions: it reads its environment when it is imported, and `plan` must come first.
The engine runs in processes of its own, which are started by *spawning*. They do not run the caller's script again, so
that it needs no `if __name__ == "__main__":`.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import numpy as np

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from gen_rerank.scorers.engine_plan import Dtype, EngineChoices, default_dtype, plan
from gen_rerank.scorers.scorer import Advance, TokenScorer, unwatched
from gen_rerank.scorers.worker import GIVE_BACK, WORKER_EXTENSION
from gen_rerank.system.processes import script_runs_once

_STOP_SECONDS = 30
# The ranks for which vLLM has kernels.
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def engine_arguments(checkpoint: Checkpoint, *, dtype: Dtype | None = None, **more: Any) -> dict[str, Any]:
    """Return the arguments with which vLLM's engine, offline or in the server, opens a checkpoint.

    Args:
        checkpoint: a decoder with a `bins` or `yes_no` readout, in full precision or quantized by llm-compressor, or an
            encoder with a `classifier`.
        dtype: of the weights and activations; `default_dtype` unless given.
        more: further engine arguments of vLLM, those of `plan` above all; they win over ours.

    Raises:
        BadInput: the model's architecture does not fit the readout, or its prompts are longer than the model's context.
    """
    longest = checkpoint.card.prompt.max_length
    context = checkpoint.config.get("max_position_embeddings")
    if context is not None and longest > int(context):
        raise BadInput(f"{checkpoint.folder}: prompts may have {longest} tokens, the model's context ends at {context}")
    arguments: dict[str, Any] = {
        "model": str(checkpoint.folder),
        "runner": "pooling",
        "convert": "classify",
        "hf_overrides": _overrides(checkpoint),
        "dtype": dtype or default_dtype(checkpoint),
        "max_model_len": longest,
        # An encoder's product tokens look at the query too: there is no prefix that stays the same.
        "enable_prefix_caching": checkpoint.card.readout.kind != "classifier",
        "use_tqdm_on_load": False,
        "worker_extension_cls": WORKER_EXTENSION,
    }
    return arguments | more


def lora_arguments(rank: int, places: int = 1) -> dict[str, Any]:
    """Return the further arguments with which vLLM's engine can serve adapters.

    Args:
        rank: the largest of an adapter.
        places: how many adapters the engine holds at once.

    Raises:
        BadInput: the rank is larger than vLLM can serve.
    """
    if rank > _LORA_RANKS[-1]:
        raise BadInput(f"an adapter of rank {rank} cannot be served; vLLM takes ranks up to {_LORA_RANKS[-1]}")
    return {
        "enable_lora": True,
        "max_loras": places,
        "max_cpu_loras": places,
        "max_lora_rank": next(known for known in _LORA_RANKS if known >= rank),
    }


class VllmScorer(TokenScorer):
    """Scores pairs with a vLLM engine that runs beside this process until `close`.

    Args:
        checkpoint: a decoder with a `bins` or `yes_no` readout, or an encoder with a `classifier`.
        adapter: a LoRA adapter of that decoder.
        choices: the settings that a person chose; the rest is planned for this machine. `EngineChoices(compiled=False)`
            starts a large model a minute earlier and computes slower. Whether packed weights are unpacked is the
            server's choice only.
        more: further arguments of `vllm.LLM`; they win.

    Raises:
        BadInput: vLLM cannot serve this checkpoint or this adapter, or a choice does not fit this machine.

    Example:
        >>> with VllmScorer(Checkpoint.open("runs/demo/model")) as scorer:  # doctest: +SKIP
        ...     scorer.score(pairs).mean
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        adapter: Adapter | None = None,
        choices: EngineChoices = EngineChoices(),  # noqa: B008 - frozen
        **more: Any,
    ) -> None:
        """Start the engine and load the weights."""
        planned = plan(checkpoint, choices)
        from vllm import LLM, PoolingParams

        self.checkpoint = checkpoint if adapter is None else adapter.applied(checkpoint)
        self._params = PoolingParams(task="classify", use_activation=False)
        lora = {} if adapter is None else lora_arguments(adapter.rank)
        arguments = engine_arguments(checkpoint, dtype=choices.dtype, **planned.arguments(), **lora)
        try:
            with script_runs_once():
                self._llm: Any = LLM(**arguments | more)
        except (RuntimeError, ValueError) as error:
            raise BadInput(
                f"{checkpoint.folder}: vLLM cannot open this checkpoint here ({first_line(error)})"
            ) from error
        _OPEN.add(self)
        atexit.register(_close_all)  # after vLLM was imported, so that it comes before what vLLM has registered
        self._llm.collective_rpc(GIVE_BACK)
        self._lora = None if adapter is None else self._load_adapter(adapter)

    def _load_adapter(self, adapter: Adapter) -> Any:
        """Load an adapter now, so that one that vLLM refuses is refused before any work; return how to ask for it."""
        from vllm.lora.request import LoRARequest

        # Named by its content, because the prefix cache keeps prefixes by this name.
        request = LoRARequest(f"{adapter.folder.name}-{adapter.fingerprint}", 1, str(adapter.folder))
        try:
            self._llm.llm_engine.add_lora(request)
        except Exception as error:  # whatever the engine's process raised arrives as a bare Exception
            self.close()
            raise BadInput(f"{adapter.folder}: vLLM cannot open this adapter ({first_line(error)})") from error
        return request

    def token_logits(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Floats:
        """Return the logits `[n, k]` of prompts that are already token ids, on which no calibration has acted."""
        logits = np.zeros((len(encoded), len(self.checkpoint.card.readout.values)), dtype=np.float32)
        # Prompts that begin alike go one after the other, while their common part is still in the cache.
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        if order:
            outputs = self._llm.encode(
                [{"prompt_token_ids": encoded[i]} for i in order],
                self._params,
                lora_request=self._lora,
                pooling_task="classify",
                use_tqdm=lambda **_: _Bar(advance),
            )
            for i, output in zip(order, outputs, strict=True):
                logits[i] = output.outputs.data.float().numpy()
        return logits

    def close(self) -> None:
        """Stop the engine's processes and the thread that reads from them; scoring is over."""
        from vllm.v1.engine.core_client import SyncMPClient

        _OPEN.discard(self)
        core = self._llm.llm_engine.engine_core
        core.shutdown(timeout=_STOP_SECONDS)
        if isinstance(core, SyncMPClient):
            # Shutting down only tells it to end. It drops its last tensor then, and torch aborts the process when that
            # meets the end of the interpreter.
            core.output_queue_thread.join(_STOP_SECONDS)


_OPEN: WeakSet[VllmScorer] = WeakSet()


def _close_all() -> None:
    """Stop the engines that nobody has closed, while the interpreter is whole."""
    for scorer in list(_OPEN):
        scorer.close()


class _Bar:
    """What vLLM takes for a progress bar of tqdm's, and tells of every prompt that is done."""

    def __init__(self, advance: Advance) -> None:
        self.n = 0
        self._advance = advance

    def update(self, prompts: int) -> None:
        """Pass on what has been done."""
        self.n += prompts
        self._advance(prompts)

    def refresh(self) -> None:
        """Draw nothing."""

    def close(self) -> None:
        """Leave nothing behind."""


def _overrides(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what makes the configuration that of a classifier: for an encoder, which is one, nothing."""
    readout = checkpoint.card.readout
    architecture = (checkpoint.config.get("architectures") or ["none"])[0]
    wanted = "ForSequenceClassification" if readout.kind == "classifier" else "ForCausalLM"
    if not architecture.endswith(wanted):
        raise BadInput(
            f"{checkpoint.folder}: the readout {readout.kind!r} needs an architecture …{wanted}, this is {architecture}"
        )
    if readout.kind == "classifier":
        return {}
    return {
        "architectures": [architecture.removesuffix("ForCausalLM") + "ForSequenceClassification"],
        "classifier_from_token": list(readout.tokens),
        "num_labels": len(readout.tokens),
        # The rows as they are: the other method would subtract "no" from "yes" and lose the second label.
        "method": "no_post_processing",
    }
