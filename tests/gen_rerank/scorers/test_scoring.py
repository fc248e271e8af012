"""Many pairs in parts: in their order, and told batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from gen_rerank import Distribution, Pair, Product
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.scorers.scorer import Advance, unwatched
from gen_rerank.scorers.scoring import score_pairs
from gen_rerank.scorers.transformers import TransformersScorer


class InOrder:
    """Gives the k-th pair that it is asked for the bin k modulo 11, in batches of 100."""

    def __init__(self) -> None:
        self.asked = 0

    def score(
        self, pairs: Sequence[Pair], *, instruction: str | None = None, advance: Advance = unwatched
    ) -> Distribution:
        places = np.arange(self.asked, self.asked + len(pairs)) % 11
        self.asked += len(pairs)
        for first in range(0, len(pairs), 100):
            advance(min(100, len(pairs) - first))
        return Distribution(np.eye(11)[places])


@pytest.mark.parametrize("count", [0, 1, 2048, 5000])
def test_the_order_stays_and_all_is_counted(count: int) -> None:
    pairs = [Pair("oak", Product(product_id=str(i), title="desk")) for i in range(count)]
    with WorkProgress(console=Console(quiet=True)) as progress:
        found = score_pairs(InOrder(), pairs, progress, "a model")
        (task,) = progress.tasks
    assert (task.description, task.total, task.completed) == ("a model", count, count)
    assert found.probabilities.argmax(axis=1).tolist() == [i % 11 for i in range(count)]


def test_a_backend_tells_of_every_batch(tiny_checkpoint, tiny_shop) -> None:
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:40]]
    scorer = TransformersScorer(Checkpoint.open(tiny_checkpoint), batch_tokens=256)
    batches: list[int] = []
    scored = scorer.score(pairs, advance=batches.append)
    assert sum(batches) == len(pairs) == len(scored)
    assert len(batches) > 1
