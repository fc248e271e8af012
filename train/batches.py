"""Batches by a token budget: rows of like length together, and as many of them as the budget holds.

A batch costs its longest row times its number of rows, so rows are ordered by length and cut where the next one would
exceed the budget. Each epoch shuffles rows of equal (padded) length among themselves, and then the batches; where the
cuts fall does not change, so an epoch has the same number of batches every time and a resumed run finds its place. All
processes compute the same plan and each takes its own batches of a step: nothing is communicated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import BatchRebalanceSampler

from train.packing import PAD_TO


class TokenBudgetSampler(BatchRebalanceSampler):
    """Yields this process's batches (lists of row numbers) of an epoch.

    It is a `BatchRebalanceSampler` because that is the batch sampler which transformers' `Trainer` passes on as it is,
    without sharding it a second time; the plan is our own.

    Args:
        lengths: tokens of each row.
        batch_tokens: the most tokens of a batch, padding included; a longer row is a batch of its own.
        processes: how many share a step.
        accumulation: batches of each process in a step.
        rank: of this process.
        seed: of the first epoch's order.
        shuffle: False keeps the longest batch first and leaves rows in their order, for evaluation.

    Example:
        >>> list(TokenBudgetSampler([8, 16, 8], batch_tokens=16, shuffle=False))
        [[1], [0, 2]]
    """

    def __init__(
        self,
        lengths: list[int],
        batch_tokens: int,
        *,
        processes: int = 1,
        accumulation: int = 1,
        rank: int = 0,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        """Cut the rows, ordered by length, into batches."""
        assert lengths, "a plan needs rows"
        self.padded = torch.tensor([-(-length // PAD_TO) * PAD_TO for length in lengths])
        self.tokens = sum(lengths)
        self.processes = processes
        self.step_batches = processes * accumulation
        self.rank = rank
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.sizes = _batch_sizes(sorted(self.padded.tolist(), reverse=True), batch_tokens)

    @property
    def padding(self) -> float:
        """The share of an epoch's tokens that is padding."""
        heights = torch.stack([self.padded[batch].max() * len(batch) for batch in self._batches()])
        return 1.0 - self.tokens / int(heights.sum())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; the trainer calls this when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many batches each process gets in an epoch."""
        return -(-len(self.sizes) // self.step_batches) * self.step_batches // self.processes

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches; the first ones come again where the last step would lack some."""
        batches = self._batches()
        wanted = len(self) * self.processes
        plan = (batches * (-(-wanted // len(batches))))[:wanted]
        for batch in plan[self.rank :: self.processes]:
            yield batch.tolist()

    def _batches(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        count = len(self.padded)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        order = order[torch.argsort(self.padded[order], stable=True, descending=True)]
        batches = list(order.split(self.sizes))
        if not self.shuffle:
            return batches
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class EpochOrder(TrainerCallback):
    """Tells a sampler which epoch begins.

    The libraries do so too, but in a resumed run of several processes their call ends at a wrapper around the sampler.

    Args:
        sampler: of the training batches.
    """

    def __init__(self, sampler: TokenBudgetSampler) -> None:
        """Keep the sampler."""
        self.sampler = sampler

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Choose the order of the epoch that begins, or in whose middle a run is resumed."""
        self.sampler.set_epoch(int((state.epoch or 0.0) + 1e-9))


def _batch_sizes(descending: list[int], batch_tokens: int) -> list[int]:
    sizes = []
    start = 0
    while start < len(descending):
        size = min(max(1, batch_tokens // descending[start]), len(descending) - start)
        sizes.append(size)
        start += size
    return sizes
