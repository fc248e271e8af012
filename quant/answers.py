"""What the compared systems answer on the split, one model in memory at a time, with plain transformers.

The reference answers twice, in another order and in other batches the second time: that is the noise floor. A candidate
that cannot be scored is a finding with its reason; a reference that cannot is an error.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Pair
from gen_rerank.errors import BadInput
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.scorers.transformers import TransformersScorer
from quant.quantized_loading import open_loaded_as
from quant.systems import ComparedSystem

# Of the noise floor; a quarter of what a scorer takes otherwise, so that no batch is what it was.
_FLOOR_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class CandidateAnswers:
    """What a candidate answered, one distribution a judgment, or why it did not."""

    distribution: Distribution | None
    refused: str = ""


def ask_reference(
    checkpoint: Checkpoint, dataset: Dataset, system: ComparedSystem, seed: int, progress: Progress
) -> tuple[Distribution, Distribution]:
    """Return the reference's answers, one a judgment, and those it gives in another order and in other batches.

    Raises:
        BadInput: it cannot be loaded or scored.
    """
    pairs = _pairs(dataset)
    order = np.random.default_rng(seed).permutation(len(pairs))
    try:
        with _quiet_libraries():
            scorer = TransformersScorer(checkpoint)
        expected = score_pairs(scorer, pairs, progress, system.name)
        scorer.batch_tokens = _FLOOR_BATCH_TOKENS
        again = score_pairs(scorer, [pairs[i] for i in order], progress, f"{system.name} again")
    except Exception as error:
        raise BadInput(_reason(system, error)) from error
    return expected, again[np.argsort(order)]


def ask_candidate(
    system: ComparedSystem, reference: Checkpoint, dataset: Dataset, progress: Progress
) -> CandidateAnswers:
    """Return a candidate's answers, one a judgment, or why there are none."""
    free_memory()
    try:
        with _quiet_libraries():
            if system.loaded_as is None:
                scorer = TransformersScorer(Checkpoint.open(system.given))
            else:
                scorer = open_loaded_as(reference, system.loaded_as)
        return CandidateAnswers(score_pairs(scorer, _pairs(dataset), progress, system.name))
    except Exception as error:  # whatever a broken folder makes the libraries raise is a finding about this candidate
        return CandidateAnswers(None, _reason(system, error))


def free_memory() -> None:
    """Give back the memory of the model that was scored last; the GPU's torch would keep for itself."""
    gc.collect()
    torch.cuda.empty_cache()


def _pairs(dataset: Dataset) -> list[Pair]:
    return [dataset.pair(judgment) for judgment in dataset.judgments]


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep off the terminal the bars with which libraries open a checkpoint, and their remarks.

    There is a bar of our own, and what would matter is an exception.
    """
    with redirect_stderr(io.StringIO()):
        yield


def _reason(system: ComparedSystem, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, BadInput) else f"{system.folder}: cannot be loaded or scored ({text[:300]})"
