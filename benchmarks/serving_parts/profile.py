"""Where the time of our cold row goes, seen by torch's profiler in vLLM's worker."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Pair
from gen_rerank.scorers.engine_plan import plan
from harness.models import make_model
from harness.traffic import WARM_UP_PAIRS, RequestMaker, Settings

KINDS = {
    "matrix products": re.compile(r"mm$|linear|matmul"),
    "attention": re.compile(r"attention|cache"),
    "norms, activations, positions": re.compile(r"CompiledFxGraph|norm|silu|rotary"),
}
REST = "batches, pooling, Python around the kernels"
OUTSIDE = "between forward passes: scheduling, tokenization, messages"


def profile_shares(settings: Settings, folder: Path) -> dict[str, float]:
    """Return the shares of a cold request's time; the profiler slows it down a little."""
    checkpoint = Checkpoint.open(make_model(settings, folder))
    arguments = plan(checkpoint, settings.choices).arguments()
    from vllm import LLM, PoolingParams

    from gen_rerank.scorers.vllm import engine_arguments

    traces = folder / "traces"
    shutil.rmtree(traces, ignore_errors=True)
    profiler = {
        "profiler": "torch",
        "torch_profiler_dir": str(traces.resolve()),
        "torch_profiler_with_stack": False,
        "torch_profiler_use_gzip": False,
        "ignore_frontend": True,
    }
    llm = LLM(**engine_arguments(checkpoint, **arguments, profiler_config=profiler))
    params = PoolingParams(task="classify", use_activation=False)
    maker = RequestMaker(checkpoint.tokenizer, settings, seed=0)

    def score(pairs: list[Pair]) -> None:
        prompts = [{"prompt_token_ids": ids} for ids in checkpoint.prompt.encode(pairs)]
        llm.encode(prompts, params, pooling_task="classify", use_tqdm=False)

    score(maker.fresh(WARM_UP_PAIRS))
    pairs = maker.fresh()
    llm.start_profile()
    start = time.perf_counter()
    score(pairs)
    wall = time.perf_counter() - start
    llm.stop_profile()
    llm.llm_engine.engine_core.shutdown(timeout=30)
    (trace,) = traces.glob("*.json")
    return shares(self_seconds(json.loads(trace.read_bytes())["traceEvents"]), wall)


def self_seconds(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of each operation of a Chrome trace, without those of the operations that it called.

    Example:
        >>> outer, inner = ({"ph": "X", "cat": "cpu_op", "tid": 1, "ts": 0, "dur": 3e6, "name": "graph"},
        ...                 {"ph": "X", "cat": "cpu_op", "tid": 1, "ts": 1, "dur": 2e6, "name": "mm"})
        >>> self_seconds([outer, inner])
        {'graph': 1.0, 'mm': 2.0}
    """
    spans = [event for event in events if event.get("ph") == "X" and event["cat"] in ("cpu_op", "user_annotation")]
    found: dict[str, float] = {}
    open_spans: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["tid"], span["ts"], -span["dur"])):
        while open_spans and (
            open_spans[-1]["tid"] != span["tid"] or open_spans[-1]["ts"] + open_spans[-1]["dur"] <= span["ts"]
        ):
            open_spans.pop()
        found[span["name"]] = found.get(span["name"], 0.0) + span["dur"] / 1e6
        if open_spans:
            found[open_spans[-1]["name"]] -= span["dur"] / 1e6
        open_spans.append(span)
    return found


def shares(seconds: dict[str, float], wall: float) -> dict[str, float]:
    """Return the share of each kind of operation in `wall` seconds."""
    sums = dict.fromkeys([*KINDS, REST], 0.0)
    for name, own in seconds.items():
        kind = next((kind for kind, pattern in KINDS.items() if pattern.search(name)), REST)
        sums[kind] += own
    return {kind: own / wall for kind, own in sums.items()} | {OUTSIDE: 1 - sum(sums.values()) / wall}
