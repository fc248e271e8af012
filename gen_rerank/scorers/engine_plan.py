"""What the engine gets of the machine that is found: number type, threads, cache memory, blocks, batches, compilation.

Each setting carries its reason, is printed at the start, and gives way to a person's own choice. On a GPU nearly
everything is left to vLLM, which measures the memory itself; on a CPU its defaults leave cores idle and cache little of
a product. vLLM reads its environment when it is imported, so `plan` comes before that.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import psutil

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.system.memory import children_keep_freed_memory

Dtype = Literal["bfloat16", "float16", "float32"]

_MIB, _GIB = 2**20, 2**30
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
# vLLM's processes talk over sockets in the folder of temporary files, whose names take 37 characters more; the system
# allows 107 in all.
_SOCKETS, _MOST_CHARACTERS = "VLLM_RPC_BASE_PATH", 107 - 37
# On a small machine every core computes; with more, vLLM's own choice (one core reserved, no hyper-threads) is better.
_FEW_CORES = 8
# Below this, a forward pass is over before compiled code can gain what its compilation costs at the start.
_WORTH_COMPILING = 256 * _MIB
# Of the memory that is free when an engine starts: the next one takes its share of what this one leaves.
_CACHE_SHARE = 0.4
# vLLM makes an object for every block of the cache: gigabytes of a nano model's tokens would take long to set up.
_CACHE_TOKENS = 2**18
# The CPU's default block of 128 tokens is longer than most product texts, so that nothing of them would be cached.
_CPU_BLOCK_SIZE = 32
_CPU_BATCH_TOKENS = 2048
_BATCH_PROMPTS = 256


@dataclass(frozen=True)
class EngineChoices:
    """What a person chose; None leaves a choice to `plan`.

    Attributes:
        threads: how many cores compute; CPU only.
        cache_gib: the memory of the key-value cache, GiB.
        block_size: the tokens of a block of that cache: prefixes are shared in whole blocks.
        batch_tokens: the most tokens of one forward pass.
        batch_prompts: the most prompts of one forward pass.
        compiled: whether the model is compiled at the start.
        dtype: of the weights and activations.
        dequantize: whether the weights of a quantized checkpoint are unpacked before the engine starts.
    """

    threads: int | None = None
    cache_gib: float | None = None
    block_size: int | None = None
    batch_tokens: int | None = None
    batch_prompts: int | None = None
    compiled: bool | None = None
    dtype: Dtype | None = None
    dequantize: bool = False


@dataclass(frozen=True)
class Setting:
    """One setting of the engine.

    Attributes:
        value: what was chosen, as people read it.
        reason: why, or that a person chose it.
        arguments: of vLLM's engine.
    """

    value: str
    reason: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class EnginePlan:
    """The settings with which the engine starts; one field a setting, in the order in which they are printed."""

    threads: Setting
    cache: Setting
    block_size: Setting
    batch: Setting
    compilation: Setting

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of vLLM's engine."""
        return {name: value for _, setting in self.lines() for name, value in setting.arguments.items()}

    def lines(self) -> Iterator[tuple[str, Setting]]:
        """Go through the settings by name."""
        for each in fields(self):
            yield each.name.replace("_", " "), getattr(self, each.name)


def plan(checkpoint: Checkpoint, chosen: EngineChoices) -> EnginePlan:
    """Choose the engine's settings for this machine, and set what vLLM reads from the environment.

    Raises:
        BadInput: more threads than cores, or more cache than memory.

    Example:
        >>> plan(Checkpoint.open("runs/model"), EngineChoices(threads=1)).threads.value  # doctest: +SKIP
        '1'
    """
    threads = _threads(chosen.threads)
    on_cpu = computes_on_cpu()
    if not on_cpu:
        threads = Setting("left to vLLM", "the GPU computes", {})
    return EnginePlan(
        threads=threads,
        cache=_cache(checkpoint, chosen, on_cpu),
        block_size=_block_size(chosen.block_size, on_cpu),
        batch=_batch(checkpoint, chosen, on_cpu),
        compilation=_compilation(checkpoint, chosen.compiled, on_cpu),
    )


def prepare_environment() -> None:
    """Set what vLLM reads from the environment, where the caller has not; call it before vLLM is imported.

    `VLLM_CPU_OMP_THREADS_BIND` means nothing to vLLM on a GPU. `OMP_NUM_THREADS` is left to vLLM, which sets it for the
    worker alone: threads of the other processes would only spin against the worker's.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if len(os.fsencode(tempfile.gettempdir())) > _MOST_CHARACTERS:
        os.environ.setdefault(_SOCKETS, "/tmp")  # noqa: S108 - each name has a random part
    children_keep_freed_memory()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) <= _FEW_CORES:
        os.environ.setdefault(_BIND, ",".join(map(str, cores)))


def computes_on_cpu() -> bool:
    """Return whether vLLM computes on the CPU here."""
    prepare_environment()
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def token_bytes(checkpoint: Checkpoint, dtype: Dtype | None = None) -> int:
    """Return the bytes that a token takes in the key-value cache.

    Raises:
        BadInput: the configuration does not say how many heads and layers there are.
    """
    config = checkpoint.config
    for name in ("num_attention_heads", "num_hidden_layers"):
        if not config.get(name) or config[name] < 1:
            raise BadInput(f"{checkpoint.folder}: config.json does not say how many there are: {name}")
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


def _threads(chosen: int | None) -> Setting:
    cores = sorted(os.sched_getaffinity(0))
    if chosen is not None:
        if not 0 < chosen <= len(cores):
            raise BadInput(f"--threads {chosen}: this process may use 1 to {len(cores)} cores")
        os.environ[_BIND] = ",".join(map(str, cores[:chosen]))
    given = os.environ.get(_BIND)
    prepare_environment()
    if chosen is not None:
        return Setting(str(chosen), "as asked", {})
    if given is not None:
        return Setting(f"on cores {given}", f"from {_BIND}", {})
    if _BIND not in os.environ:
        return Setting("left to vLLM", f"of {len(cores)} cores it keeps one for the server", {})
    return Setting(str(len(cores)), "every core computes: there are few", {})


def _cache(checkpoint: Checkpoint, chosen: EngineChoices, on_cpu: bool) -> Setting:
    if chosen.cache_gib is not None:
        memory = psutil.virtual_memory().total / _GIB
        if on_cpu and not 0 < chosen.cache_gib < memory:
            raise BadInput(f"--cache-gib {chosen.cache_gib:g}: this machine has {memory:.1f} GiB of memory")
        return Setting(f"{chosen.cache_gib:g} GiB", "as asked", {"kv_cache_memory_bytes": int(chosen.cache_gib * _GIB)})
    if not on_cpu:
        return Setting("left to vLLM", "it measures what the GPU has left", {})
    # The environment's VLLM_CPU_KVCACHE_SPACE wins over this.
    token = token_bytes(checkpoint, chosen.dtype)
    free = max(0, psutil.virtual_memory().available - 2 * _weight_bytes(checkpoint))
    size = min(token * _CACHE_TOKENS, int(free * _CACHE_SHARE))
    reason = f"{size // token:,} tokens; at most {_CACHE_SHARE:.0%} of the memory that the weights leave"
    return Setting(f"{size / _GIB:.2f} GiB", reason, {"kv_cache_memory_bytes": size})


def _block_size(chosen: int | None, on_cpu: bool) -> Setting:
    if chosen is not None:
        return Setting(str(chosen), "as asked", {"block_size": chosen})
    if not on_cpu:
        return Setting("left to vLLM", "", {})
    reason = "prefixes are shared in whole blocks, and products are short"
    return Setting(str(_CPU_BLOCK_SIZE), reason, {"block_size": _CPU_BLOCK_SIZE})


def _batch(checkpoint: Checkpoint, chosen: EngineChoices, on_cpu: bool) -> Setting:
    prompts = chosen.batch_prompts or _BATCH_PROMPTS
    # A forward pass must be able to hold the longest prompt.
    tokens = chosen.batch_tokens or max(_CPU_BATCH_TOKENS, checkpoint.card.prompt.max_length)
    arguments: dict[str, Any] = {"max_num_seqs": prompts}
    if chosen.batch_tokens is None and not on_cpu:
        return Setting(f"{prompts} prompts", "tokens left to vLLM", arguments)
    if tokens < checkpoint.card.prompt.max_length:
        raise BadInput(
            f"--batch-tokens {tokens}: the longest prompt has {checkpoint.card.prompt.max_length} tokens and must fit"
        )
    reason = "as asked" if chosen.batch_tokens or chosen.batch_prompts else "larger activations leave the caches"
    return Setting(f"{tokens} tokens, {prompts} prompts", reason, arguments | {"max_num_batched_tokens": tokens})


def _compilation(checkpoint: Checkpoint, chosen: bool | None, on_cpu: bool) -> Setting:
    if chosen is not None:
        return Setting("on" if chosen else "off", "as asked", {"enforce_eager": not chosen})
    decoder = checkpoint.card.readout.kind != "classifier"
    large = _weight_bytes(checkpoint) >= _WORTH_COMPILING
    compiled = (decoder and large) or not on_cpu
    reason = "starts slower, scores faster" if compiled else "a small model gains less than its compilation costs"
    return Setting("on" if compiled else "off", reason, {"enforce_eager": not compiled})


def _weight_bytes(checkpoint: Checkpoint) -> int:
    return sum(file.stat().st_size for file in checkpoint.folder.glob("*.safetensors"))
