"""What an epoch holds and how long it may take, known before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelerate import PartialState
from rich.console import Console
from transformers import PretrainedConfig, TrainingArguments

from gen_rerank.reporting.numbers import duration
from train.batches import TokenBudgetSampler
from train.defaults import fast_dtype
from train.estimate import StepPlan, estimate_seconds, measured_matmul_flops

SHARE_OF_PEAK = 0.4  # of the matrix product's FLOP/s that training usually reaches


@dataclass(frozen=True)
class Epoch:
    """What an epoch holds, and what its time depends on.

    Attributes:
        pairs: judged pairs, varied copies counted.
        rows: training rows; pairs with a common prefix share one.
        tokens: of all rows, padding left out.
        padding: share of all positions, in [0, 1].
        batches: of all processes.
        epochs: how often all of it is read.
        steps: of the optimizer, in all epochs.
        shape: the configuration of the model that reads it.
        plan: how that model is trained.
    """

    pairs: int
    rows: int
    tokens: int
    padding: float
    batches: int
    epochs: float
    steps: int
    shape: PretrainedConfig
    plan: StepPlan

    @classmethod
    def of(
        cls, sampler: TokenBudgetSampler, pairs: int, config: TrainingArguments, shape: PretrainedConfig, plan: StepPlan
    ) -> Epoch:
        """Return what a sampler's epoch holds; how often it is read, `config` says in steps or in epochs."""
        steps = len(sampler) * sampler.processes // sampler.step_batches
        epochs = config.max_steps / steps if config.max_steps > 0 else config.num_train_epochs
        return cls(
            pairs=pairs,
            rows=len(sampler.padded),
            tokens=sampler.tokens,
            padding=sampler.padding,
            batches=len(sampler.sizes),
            epochs=epochs,
            steps=math.ceil(epochs * steps),
            shape=shape,
            plan=plan,
        )

    def announce(self, console: Console) -> None:
        """Show what is about to be read, and how long it may take, on the first process.

        The time is the model's FLOP count over a measured product of matrices.
        """
        if not PartialState().is_main_process:
            return
        a_pair = self.tokens / self.pairs
        console.print(
            f"an epoch: {self.pairs:,} pairs in {self.rows:,} rows, {self.tokens:,} tokens ({a_pair:.1f} a pair), "
            f"{self.batches:,} batches, padding {self.padding:.1%}"
        )
        speed = SHARE_OF_PEAK * measured_matmul_flops(fast_dtype()) * PartialState().num_processes
        seconds = estimate_seconds(self.shape, self.tokens * self.epochs, flops_per_second=speed, plan=self.plan)
        console.print(
            f"{self.epochs:.2f} epochs: about {duration(seconds)} or more by the FLOP count, at {SHARE_OF_PEAK:.0%} of "
            "the measured peak (an estimate; small models stay further below it)"
        )
