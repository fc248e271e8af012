"""Batches by a token budget: rows of like length together, and as many of them as the budget holds.

A batch costs its longest row times its number of rows, so rows are ordered by length and cut where the next one would
exceed the budget. Each epoch shuffles rows of equal (padded) length among themselves, and then the batches; where the
cuts fall does not change, so an epoch has the same number of batches every time and a resumed run finds its place. All
processes compute the same plan and each takes its own batches of a step: nothing is communicated.

Rows that must meet in a batch, such as those of one query, are ordered and shuffled as one *block*: a block's shape is
its longest row and its number of rows. A group that is over the budget becomes blocks as even as possible, the same
ones in every epoch. Where nothing must meet, each row is a block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
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
        groups: the group of each row; rows of one group are in one batch if it holds them. None lets each be alone.
        processes: how many share a step.
        accumulation: batches of each process in a step.
        rank: of this process.
        seed: of the first epoch's order.
        shuffle: False keeps the longest batch first and leaves rows in their order, for evaluation.

    Example:
        >>> list(TokenBudgetSampler([8, 16, 8], batch_tokens=16, shuffle=False))
        [[1], [0, 2]]
        >>> list(TokenBudgetSampler([8, 16, 8], batch_tokens=32, groups=[0, 1, 1], shuffle=False))
        [[1, 2], [0]]
    """

    def __init__(
        self,
        lengths: list[int],
        batch_tokens: int,
        *,
        groups: Sequence[int] | None = None,
        processes: int = 1,
        accumulation: int = 1,
        rank: int = 0,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        """Cut the blocks, ordered by length, into batches."""
        assert lengths, "a plan needs rows"
        padded = [-(-length // PAD_TO) * PAD_TO for length in lengths]
        self.padded = torch.tensor(padded)
        self.tokens = sum(lengths)
        self.processes = processes
        self.step_batches = processes * accumulation
        self.rank = rank
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.blocks = [[i] for i in range(len(padded))] if groups is None else _blocks(padded, groups, batch_tokens)
        shapes = [(max(padded[i] for i in block), len(block)) for block in self.blocks]
        self.ranks = torch.tensor([width * (len(padded) + 1) + rows for width, rows in shapes])
        self.sizes = _batch_sizes(sorted(shapes, reverse=True), batch_tokens)

    @property
    def padding(self) -> float:
        """The share of an epoch's tokens that is padding."""
        return 1.0 - self.tokens / sum(int(self.padded[batch].max()) * len(batch) for batch in self._batches())

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
        yield from plan[self.rank :: self.processes]

    def _batches(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        count = len(self.blocks)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        order = order[torch.argsort(self.ranks[order], stable=True, descending=True)]
        batches = [[i for block in part.tolist() for i in self.blocks[block]] for part in order.split(self.sizes)]
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


def _blocks(padded: list[int], groups: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return the rows of each group, those of a group over the budget in parts of like length and even size."""
    together: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        together[group].append(i)
    blocks = []
    for rows in together.values():
        rows = sorted(rows, key=lambda i: -padded[i])
        most = max(1, batch_tokens // padded[rows[0]])
        parts = -(-len(rows) // most)
        cuts = [len(rows) * part // parts for part in range(parts + 1)]
        blocks += [rows[start:end] for start, end in pairwise(cuts)]
    return blocks


def _batch_sizes(descending: list[tuple[int, int]], batch_tokens: int) -> list[int]:
    """Return of how many blocks each batch is; of a block the longest row's tokens and the number of rows are given."""
    sizes: list[int] = []
    width = held = 0
    for longest, rows in descending:
        if sizes and width * (held + rows) <= batch_tokens:
            sizes[-1] += 1
            held += rows
        else:
            sizes.append(1)
            width, held = longest, rows
    return sizes
