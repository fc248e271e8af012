"""What is measured on the way: all validation queries, or a sample of them where all would cost too much.

Measuring while training is for the eye, and is to cost a tenth of the training at most, counted in tokens that are
read. Where something is chosen by it (the best state, when to stop), nothing is sampled; nor at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from accelerate import PartialState
from rich.console import Console
from transformers import TrainingArguments

from gen_rerank.data.dataset import Dataset
from train.epoch import Epoch

SHARE = 0.1  # of the training's tokens, for all measurements on the way together


class ReadingCost(NamedTuple):
    """Tokens of reading all validation pairs together, and of each pair alone, in the order of the judgments."""

    together: int
    alone: Sequence[int]


@dataclass(frozen=True)
class ValidationSample:
    """The validation queries that are measured on the way.

    Attributes:
        places: of their judgments among those of the validation split, ascending.
        queries: how many they are.
        judged: how many there are.
    """

    places: list[int]
    queries: int
    judged: int

    def announce(self, console: Console) -> None:
        """Say, on the first process, that not all are measured."""
        if PartialState().is_main_process:
            console.print(
                f"measured on the way: {self.queries:,} of {self.judged:,} validation queries, drawn at random, so that"
                f" it costs about {SHARE:.0%} of the training at most; at the end, all of them"
            )

    def of(self, validation: Dataset) -> Dataset:
        """Return the sample's judgments alone; the numbers of the queries stay."""
        return replace(validation, judgments=tuple(validation.judgments[place] for place in self.places))


def affordable_sample(
    validation: Dataset, cost: ReadingCost, args: TrainingArguments, epoch: Epoch
) -> ValidationSample | None:
    """Return the queries whose measurements cost `SHARE` of the training at most, or None where all do.

    Queries are drawn in an order that depends on the seed alone, so that a resumed run measures the same ones. One is
    always measured. None too where the arguments choose a state by what is measured.

    Args:
        validation: the judged queries.
        cost: of reading them once.
        args: when they are measured. Each process reads all of them, or waits for the one that does.
        epoch: what is trained on.
    """
    times = measurements(args, epoch)
    if not times or args.metric_for_best_model is not None:
        return None
    allowed = SHARE * epoch.tokens * epoch.epochs / (times * args.world_size)
    if cost.together <= allowed:
        return None
    places: dict[str, list[int]] = {}
    for place, row in enumerate(validation.judgments):
        places.setdefault(row.query_id, []).append(place)
    judged = list(places)
    chosen: list[str] = []
    for i in np.random.default_rng(args.seed).permutation(len(judged)):
        allowed -= sum(cost.alone[place] for place in places[judged[i]])
        if chosen and allowed < 0:
            break
        chosen.append(judged[i])
    return ValidationSample(sorted(place for name in chosen for place in places[name]), len(chosen), len(judged))


def measurements(args: TrainingArguments, epoch: Epoch) -> int:
    """Return how often the validation queries are measured on the way, the last step included."""
    steps = 0
    if args.eval_strategy == "epoch":
        steps = math.ceil(epoch.epochs)
    elif args.eval_strategy == "steps":
        every = args.eval_steps if args.eval_steps >= 1 else math.ceil(epoch.steps * args.eval_steps)
        steps = math.ceil(epoch.steps / every)
    return steps + bool(args.eval_on_start)
