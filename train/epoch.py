"""What an epoch holds and how long it may take, known before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelerate import PartialState
from rich.console import Console
from transformers import PretrainedConfig, TrainingArguments

from gen_rerank.reporting.numbers import duration
from train.batches import TokenBudgetSampler
from train.estimate import GIB, StepPlan, estimate_seconds, measured_flops


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
        autocast: whether its products are rounded to bfloat16.
        memory: bytes at the peak of a step; None where nobody estimates them.
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
    autocast: bool
    memory: float | None = None

    @classmethod
    def of(
        cls,
        sampler: TokenBudgetSampler,
        pairs: int,
        config: TrainingArguments,
        shape: PretrainedConfig,
        plan: StepPlan,
        memory: float | None = None,
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
            autocast=bool(config.bf16),
            memory=memory,
        )

    def announce(self, console: Console) -> None:
        """Show what is about to be read, and how long it may take, on the first process.

        The time is the model's FLOP count over the speed that one of its layers has on this machine.
        """
        if not PartialState().is_main_process:
            return
        a_pair = self.tokens / self.pairs
        console.print(
            f"an epoch: {self.pairs:,} pairs in {self.rows:,} rows, {self.tokens:,} tokens ({a_pair:.1f} a pair), "
            f"{self.batches:,} batches, padding {self.padding:.1%}"
        )
        speed = measured_flops(self.shape, self.plan, autocast=self.autocast) * PartialState().num_processes
        seconds = estimate_seconds(self.shape, self.tokens * self.epochs, flops_per_second=speed, plan=self.plan)
        memory = "" if self.memory is None else f" and {self.memory / GIB:.1f} GiB"
        console.print(
            f"{self.epochs:.2f} epochs: about {duration(seconds)}{memory} (an estimate, by the speed that one layer of "
            "this model just had here; validation is not counted)"
        )
