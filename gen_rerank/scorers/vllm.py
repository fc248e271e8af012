"""The fast backend: vLLM's engine, asked for the readout logits of many prompts at once.

vLLM turns a causal checkpoint into a classifier whose labels are the readout tokens: after the weights are loaded it
copies their rows of the output matrix into a small float32 head, and the last position of each prompt goes through it.
Nothing is decoded and the vocabulary's logits never exist. We ask for logits, not probabilities, because the
checkpoint's temperature divides logits. An encoder with a classification head is served as it is, and a LoRA adapter goes with
each request.

`engine_arguments`, `lora_arguments` and `prepare_environment` say how a checkpoint is opened; the server can use the same, so
that offline and online scores come from one configuration. HTTP is none of this module's business.

vLLM is imported inside functions: it reads its environment when it is imported, and `prepare_environment` must come first.
The engine runs in processes of its own, which are started by *spawning*: a script that uses this backend needs
`if __name__ == "__main__":`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np

from gen_rerank.adapter import Adapter
from gen_rerank.bins import Distribution
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.cpu import children_keep_freed_memory
from gen_rerank.errors import BadInput
from gen_rerank.records import Pair

Dtype = Literal["bfloat16", "float16", "float32"]

# On a small machine every core computes; with more, vLLM's own choice (one core reserved, no hyper-threads) is better.
_FEW_CORES = 8
# The CPU's default block of 128 tokens is longer than most product texts, so that nothing of them would be cached.
_CPU_BLOCK_SIZE = 32
# vLLM makes an object for every block of the cache, so that a cache of gigabytes costs a nano model ten seconds.
_CPU_CACHE_TOKENS = 2**17
_CPU_CACHE_SHARE = 0.125
_STOP_SECONDS = 30
# The ranks for which vLLM has kernels.
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def prepare_environment() -> None:
    """Set what vLLM reads from the environment, where the caller has not; call it before vLLM is imported.

    `VLLM_CPU_OMP_THREADS_BIND` means nothing to vLLM on a GPU. `OMP_NUM_THREADS` is left to vLLM, which sets it for the
    worker alone: threads of the other processes would only spin against the worker's.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    children_keep_freed_memory()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) <= _FEW_CORES:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))


def engine_arguments(
    checkpoint: Checkpoint, *, dtype: Dtype | None = None, enforce_eager: bool = True, **more: Any
) -> dict[str, Any]:
    """Return the arguments with which vLLM's engine, offline or in the server, opens a checkpoint.

    Args:
        checkpoint: a decoder with a `bins` or `yes_no` readout, in full precision or quantized by llm-compressor, or an
            encoder with a `classifier`.
        dtype: of the weights and activations; `default_dtype` unless given.
        enforce_eager: no compilation: starts a minute earlier, computes slower.
        more: further engine arguments of vLLM; they win over ours.

    Raises:
        BadInput: the model's architecture does not fit the readout, or its prompts are longer than the model's context.
    """
    longest = checkpoint.card.prompt.max_length
    context = checkpoint.config.get("max_position_embeddings")
    if context is not None and longest > int(context):
        raise BadInput(f"{checkpoint.folder}: prompts may have {longest} tokens, the model's context ends at {context}")
    dtype = dtype or default_dtype(checkpoint)
    arguments: dict[str, Any] = {
        "model": str(checkpoint.folder),
        "runner": "pooling",
        "convert": "classify",
        "hf_overrides": _overrides(checkpoint),
        "dtype": dtype,
        "max_model_len": longest,
        # An encoder's product tokens look at the query too: there is no prefix that stays the same.
        "enable_prefix_caching": checkpoint.card.readout.kind != "classifier",
        "enforce_eager": enforce_eager,
        "use_tqdm_on_load": False,
    }
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        arguments["block_size"] = _CPU_BLOCK_SIZE
        # The environment's VLLM_CPU_KVCACHE_SPACE wins over this.
        arguments["kv_cache_memory_bytes"] = _cache_bytes(checkpoint, dtype)
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


class VllmScorer:
    """Scores pairs with a vLLM engine that runs beside this process until `close`.

    Args:
        checkpoint: a decoder with a `bins` or `yes_no` readout, or an encoder with a `classifier`.
        adapter: a LoRA adapter of that decoder.
        dtype: of the weights and activations; as in `engine_arguments`.
        enforce_eager: no compilation: starts a minute earlier, computes slower; worth turning off for long runs.
        more: further arguments of `vllm.LLM`.

    Raises:
        BadInput: vLLM cannot serve this checkpoint or this adapter.

    Example:
        >>> with VllmScorer(Checkpoint.open("runs/demo/model")) as scorer:  # doctest: +SKIP
        ...     scorer.score(pairs).mean
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        adapter: Adapter | None = None,
        *,
        dtype: Dtype | None = None,
        enforce_eager: bool = True,
        **more: Any,
    ) -> None:
        """Start the engine and load the weights."""
        prepare_environment()
        from vllm import LLM, PoolingParams

        self.checkpoint = checkpoint if adapter is None else adapter.applied(checkpoint)
        self._params = PoolingParams(task="classify", use_activation=False)
        lora = {} if adapter is None else lora_arguments(adapter.rank)
        arguments = engine_arguments(checkpoint, dtype=dtype, enforce_eager=enforce_eager, **lora)
        try:
            self._llm: Any = LLM(**arguments | more)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BadInput(f"{checkpoint.folder}: vLLM cannot open this checkpoint here ({reason})") from error
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
            reason = str(error).strip().splitlines()[0]
            raise BadInput(f"{adapter.folder}: vLLM cannot open this adapter ({reason})") from error
        return request

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Distribution:
        """Return one distribution a pair, in order."""
        return self.score_tokens(self.checkpoint.prompt.encode(pairs, instruction=instruction))

    def score_tokens(self, encoded: Sequence[list[int]]) -> Distribution:
        """Return the distributions of prompts that are already token ids."""
        card = self.checkpoint.card
        logits = np.zeros((len(encoded), len(card.readout.values)), dtype=np.float32)
        # Prompts that begin alike go one after the other, while their common part is still in the cache.
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        if order:
            outputs = self._llm.encode(
                [{"prompt_token_ids": encoded[i]} for i in order],
                self._params,
                lora_request=self._lora,
                pooling_task="classify",
                use_tqdm=False,
            )
            for i, output in zip(order, outputs, strict=True):
                logits[i] = output.outputs.data.float().numpy()
        return Distribution.from_logits(logits, temperature=card.calibration.temperature, values=card.readout.values)

    def close(self) -> None:
        """Stop the engine's processes; scoring is over."""
        self._llm.llm_engine.engine_core.shutdown(timeout=_STOP_SECONDS)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the engine."""
        self.close()


def token_bytes(checkpoint: Checkpoint, dtype: Dtype | None = None) -> int:
    """Return the bytes that a token takes in the key-value cache."""
    config = checkpoint.config
    heads = int(config["num_attention_heads"])
    head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
    key_value_heads = int(config.get("num_key_value_heads") or heads)
    width = 4 if (dtype or default_dtype(checkpoint)) == "float32" else 2
    return 2 * width * int(config["num_hidden_layers"]) * key_value_heads * head_size


def dtype_of(name: str | None) -> Dtype | None:
    """Return the type of a name that a person gave; None stays None.

    Raises:
        BadInput: it is none of the three.
    """
    for known in get_args(Dtype):
        if name == known:
            return known
    if name is None:
        return None
    raise BadInput(f"--dtype {name}: choose one of {', '.join(get_args(Dtype))}")


def default_dtype(checkpoint: Checkpoint) -> Dtype:
    """Return bfloat16 for a decoder, whose head is float32 anyway, and float32 for an encoder.

    In bfloat16 an encoder's scores would differ from `CrossEncoder`'s by up to 0.005.
    """
    return "float32" if checkpoint.card.readout.kind == "classifier" else "bfloat16"


def _cache_bytes(checkpoint: Checkpoint, dtype: Dtype) -> int:
    """Return the memory of the key-value cache on a CPU: for a fixed number of tokens, or a share of the memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(token_bytes(checkpoint, dtype) * _CPU_CACHE_TOKENS, int(memory * _CPU_CACHE_SHARE))


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
