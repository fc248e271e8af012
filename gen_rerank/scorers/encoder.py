"""The backend for encoders on a CPU: OpenVINO, fed with batches of nearly equal lengths.

The CPU's cores take a batch each, so that none waits for another within a layer. Lengths are rounded up to a few values
because OpenVINO prepares its kernels for every shape that it meets, and a batch holds only prompts that are nearly as
long as its longest. That is also what keeps padding right: a local layer of ModernBERT sees 64 tokens to each side, and
a place of padding that sees no token at all would have no answer.

transformers is the reference: in float32 the scores differ by rounding; how far in bfloat16 was not measured.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from gen_rerank.scorers.encoder_graph import INPUTS, open_graph, openvino_module
from gen_rerank.scorers.engine_plan import Dtype
from gen_rerank.scorers.scorer import Advance, TokenScorer, unwatched
from gen_rerank.system.machine import cpu_multiplies_bfloat16

# Lengths are multiples of this.
_STEP = 8
# A prompt may be shorter than its batch is wide by an eighth of that, and by this at most.
_MOST_PADDING = 32
# More activations than this leave a core's cache.
BATCH_TOKENS = 1024
# Below it a batch is over before the next one is begun.
_LEAST_BATCH_TOKENS = 128
_PRECISION = {"float32": "f32", "bfloat16": "bf16"}


class EncoderScorer(TokenScorer):
    """Scores pairs with an encoder on this machine's CPU.

    Args:
        checkpoint: an encoder with a `classifier`, in full precision.
        dtype: of what is multiplied; bfloat16 where the CPU has it, and else float32, unless given.
        threads: how many cores compute; all that this process may use unless given.

    Attributes:
        dtype: as it was chosen.
        threads: as it was chosen.
        origin: how the graph came about, as people read it.

    Raises:
        BadInput: the checkpoint is none that OpenVINO computes, there are not as many cores, or the CPU has no
            bfloat16; or OpenVINO is not installed.

    Example:
        >>> EncoderScorer(Checkpoint.open("runs/encoder")).score(pairs).mean  # doctest: +SKIP
    """

    def __init__(self, checkpoint: Checkpoint, *, dtype: Dtype | None = None, threads: int | None = None) -> None:
        """Open the graph, or make it, and compile it for this CPU."""
        cores = len(os.sched_getaffinity(0))
        if threads is not None and not 0 < threads <= cores:
            raise BadInput(f"--threads {threads}: this process may use 1 to {cores} cores")
        self.checkpoint = checkpoint
        self.threads = threads or cores
        self.dtype = _computed_in(dtype)
        graph = open_graph(checkpoint)
        self.origin = graph.origin
        openvino = openvino_module()
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION[self.dtype],
            "INFERENCE_NUM_THREADS": str(self.threads),
            "NUM_STREAMS": str(self.threads),
        }
        try:
            compiled = openvino.Core().compile_model(graph.model, "CPU", settings)
        except RuntimeError as error:
            raise BadInput(
                f"{checkpoint.folder}: OpenVINO cannot compile this encoder here ({first_line(error)})"
            ) from error
        self._queue = openvino.AsyncInferQueue(compiled, self.threads)
        self._queue.set_callback(_keep)
        self._most_padding = _most_padding(checkpoint)
        # The queue is for one caller at a time.
        self._alone = threading.Lock()

    def token_logits(self, encoded: Sequence[list[int]], advance: Advance = unwatched) -> Floats:
        """Return the logits `[n, k]` of prompts that are already token ids, on which no calibration has acted."""
        logits = np.zeros((len(encoded), len(self.checkpoint.card.readout.values)), dtype=np.float32)
        lengths = [len(ids) for ids in encoded]
        # Few prompts are spread over all cores.
        budget = min(BATCH_TOKENS, max(_LEAST_BATCH_TOKENS, sum(lengths) // self.threads))
        with self._alone:
            for batch in near_batches(lengths, budget, self._most_padding):
                inputs = padded([encoded[i] for i in batch])
                self._queue.start_async(inputs, (logits, batch, advance))
            self._queue.wait_all()
        return logits

    def close(self) -> None:
        """Do nothing: the graph goes with this object."""


def default_encoder_dtype() -> Dtype:
    """Return bfloat16 where this CPU multiplies it, and else float32."""
    return "bfloat16" if cpu_multiplies_bfloat16() else "float32"


def near_batches(lengths: Sequence[int], batch_tokens: int, most_padding: int = _MOST_PADDING) -> Iterator[list[int]]:
    """Yield batches of indices, longest first, each of lengths that are nearly the same.

    Args:
        lengths: of the prompts, in tokens.
        batch_tokens: the most tokens of a batch, padding included; one prompt may have more.
        most_padding: the most tokens by which a prompt may be shorter than its batch is wide.

    Example:
        >>> list(near_batches([20, 64, 60, 19, 63], batch_tokens=128))
        [[1, 4], [2], [0, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        width = padded_length(lengths[order[start]])
        least = width - min(max(_STEP, width // 8), most_padding)
        end = min(len(order), start + max(1, batch_tokens // width))
        while lengths[order[end - 1]] < least:
            end -= 1
        yield order[start:end]
        start = end


def padded_length(length: int) -> int:
    """Return a length rounded up to a multiple of 8."""
    return -(-max(length, 1) // _STEP) * _STEP


def padded(encoded: Sequence[list[int]]) -> dict[str, NDArray[np.int64]]:
    """Return the inputs of a batch, int64 `[b, t]`, padded on the right to a multiple of 8."""
    width = padded_length(max(map(len, encoded)))
    tokens, mask = (np.zeros((len(encoded), width), dtype=np.int64) for _ in INPUTS)
    for row, ids in enumerate(encoded):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return dict(zip(INPUTS, (tokens, mask), strict=True))


def _most_padding(checkpoint: Checkpoint) -> int:
    """Return how much padding leaves every place of it a token to look at, in layers that look near by only."""
    sides = int(checkpoint.config.get("local_attention") or 4 * _MOST_PADDING) // 2
    return min(_MOST_PADDING, max(_STEP, sides) - 1)


def _keep(request: Any, given: tuple[Floats, list[int], Advance]) -> None:
    """Copy a batch's answer to its rows; OpenVINO calls it when the batch is done."""
    logits, batch, advance = given
    logits[batch] = request.get_output_tensor(0).data
    advance(len(batch))


def _computed_in(dtype: Dtype | None) -> Dtype:
    """Return the type of numbers that is multiplied.

    Raises:
        BadInput: it is none that this CPU multiplies: OpenVINO would take another without a word.
    """
    chosen = dtype or default_encoder_dtype()
    if chosen not in _PRECISION:
        raise BadInput(f"--dtype {chosen}: the backend openvino computes in {' or '.join(_PRECISION)}")
    if chosen == "bfloat16" and not cpu_multiplies_bfloat16():
        raise BadInput("--dtype bfloat16: this CPU does not multiply it; leave it out for float32")
    return chosen
