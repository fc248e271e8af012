"""Where the resident memory of vLLM goes: weights, the cache of keys and values, and all else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.sample import make_sample
from gen_rerank.reporting.markdown import table
from gen_rerank.scorers.engine_plan import EngineChoices, default_dtype
from harness.own_process import in_own_process
from harness.this_run import ThisRun
from quant.measured_process import cache_bytes, resident_bytes

HEADER = ("System", "Weights, MiB", "Cache, MiB", "Ready, MiB", "After 64 pairs, MiB", "of it not cache, MiB")


@dataclass(frozen=True)
class ResidentMemory:
    """Resident bytes of a checkpoint in vLLM, with all its processes, shared pages counted once.

    Attributes:
        weights: of the files.
        cache: of keys and values.
        ready: when the engine may be asked.
        scored: after 64 pairs.
    """

    weights: int
    cache: int
    ready: int
    scored: int


def memory_of(folder: Path) -> ResidentMemory:
    """Open a checkpoint in vLLM and score; called once in a process.

    Not compiled: what compilation takes is no part of a scheme.
    """
    checkpoint = Checkpoint.open(folder)
    dtype = default_dtype(checkpoint)
    cache = cache_bytes(checkpoint, dtype)
    shop = make_sample(0, 1000, 60)
    pairs = [shop.pair(row) for row in shop.judgments[:64]]
    from gen_rerank.scorers.vllm import VllmScorer

    with VllmScorer(checkpoint, choices=EngineChoices(cache_gib=cache / 2**30, compiled=False)) as scorer:
        ready = resident_bytes()
        scorer.score(pairs)
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        return ResidentMemory(weights, cache, ready, resident_bytes())


def memory_document(folders: Iterable[Path]) -> str:
    """Measure each checkpoint in a process of its own and return the table as Markdown."""
    rows = []
    for folder in folders:
        found = in_own_process(memory_of, folder)
        sizes = (found.weights, found.cache, found.ready, found.scored, found.scored - found.cache)
        rows.append([folder.name, *(f"{size / 2**20:,.0f}" for size in sizes)])
    return f"{ThisRun.now().line()}.\n\n{table(HEADER, rows)}\n"
