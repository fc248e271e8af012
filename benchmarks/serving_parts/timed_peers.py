"""The peers' rows: each asked as `serving_parts.peers` sets it up, at the best of its batch sizes where it has any."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.engine_plan import EngineChoices, plan
from gen_rerank.system.memory import keep_freed_memory
from harness.models import make_model
from harness.timing import timed
from harness.traffic import WARM_UP_PAIRS, RequestMaker, Requests, Settings
from serving_parts.arithmetic import request_flops
from serving_parts.peers import CrossEncoderPeer, GeneratePeer, TransformersPeer, export_classifier
from serving_parts.turns import CROSS_ENCODER, GENERATE, GENERATE_DEFAULTS, TRANSFORMERS, TimedRow, Turn

TRIAL_PAIRS = 16


def generate_row(turn: Turn, settings: Settings, folder: Path) -> TimedRow:
    """Return the row of vLLM's generation: with the same plan for the machine as ours, or as it comes."""
    checkpoint = Checkpoint.open(make_model(settings, folder))
    if turn.way == "generate":
        name, choices, batches = GENERATE, settings.choices, {}
    else:
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "auto"  # one core is left to what is not the worker
        name, choices = GENERATE_DEFAULTS, EngineChoices(compiled=settings.compiled is not False)
        batches = {"max_num_batched_tokens": None, "max_num_seqs": None}
    maker = RequestMaker(checkpoint.tokenizer, settings, turn.visit)
    asked = Requests(maker.fresh)
    with GeneratePeer(checkpoint, choices, **batches) as peer:
        peer.score(maker.fresh(WARM_UP_PAIRS))
        times = timed(peer.score, iter(asked), settings)
    # Nothing of a cold request is held, whatever the size of a block.
    flops = request_flops(checkpoint, asked.made, None)
    note = "eager" if plan(checkpoint, choices).arguments()["enforce_eager"] else "compiled"
    return TimedRow(name, turn.visit, settings.candidates, 1, tuple(times), sum(times), flops, note)


def library_row(turn: Turn, settings: Settings, folder: Path) -> TimedRow:
    """Return the row of a peer that runs in this process, at the best of its batch sizes."""
    keep_freed_memory()  # as good for the peers as for our own training
    checkpoint = Checkpoint.open(make_model(settings, folder))
    peer: TransformersPeer | CrossEncoderPeer
    if turn.way == "transformers":
        name, peer = TRANSFORMERS, TransformersPeer(checkpoint, turn.batch_sizes[0])
    else:
        classifier = folder / f"{settings.shape}-classifier"
        if not (classifier / "tokenizer_config.json").is_file():
            export_classifier(checkpoint, classifier)
        name, peer = CROSS_ENCODER, CrossEncoderPeer(checkpoint, classifier, turn.batch_sizes[0])
    maker = RequestMaker(checkpoint.tokenizer, settings, turn.visit)
    peer.score(maker.fresh(WARM_UP_PAIRS))
    peer.batch_size = best_batch_size(peer, maker, turn.batch_sizes)
    asked = Requests(maker.fresh)
    times = timed(peer.score, iter(asked), settings)
    flops = request_flops(checkpoint, asked.made, None)
    note = f"batch {peer.batch_size}"
    return TimedRow(name, turn.visit, settings.candidates, 1, tuple(times), sum(times), flops, note)


def best_batch_size(peer: TransformersPeer | CrossEncoderPeer, maker: RequestMaker, sizes: Sequence[int]) -> int:
    """Return the batch size that takes the least time for the same pairs; what there is one of is not tried."""
    pairs = maker.fresh(TRIAL_PAIRS)
    seconds = {}
    for size in sizes if len(sizes) > 1 else ():
        peer.batch_size = size
        start = time.perf_counter()
        peer.score(pairs)
        seconds[size] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__, default=sizes[0])
