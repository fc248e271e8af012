"""Fits of the readout on what the frozen backbone said of each pair: one to publish, five to cross-validate it.

The trainer is `scalar_trainer`'s, the rule by which a readout is chosen `readout_choice`'s. Features are read from the
run's folder; files of weights are `scalar`'s.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation.evaluation import MSE, RPS, difference, evaluate
from gen_rerank.evaluation.intervals import LEAST_QUERIES
from gen_rerank.reporting.progress import WorkProgress
from train.readout_choice import FOLDS, ReadoutChoice, folds
from train.scalar_trainer import ScalarConfig, ScalarTrainer, TrainedReadout

_PAIRS = 4096  # at a time


@dataclass(frozen=True)
class ReadPairs:
    """Judged pairs and what the backbone said of them.

    Attributes:
        data: whose judgments are the pairs.
        examples: of each judgment, in their order, `features` `[hidden]`, `relevance`, and `members`, its place.
    """

    data: Dataset
    examples: datasets.Dataset

    def examples_of(self, queries: Container[str]) -> datasets.Dataset:
        """Return the examples of some queries, a view."""
        return self.examples.select([i for i, row in enumerate(self.data.judgments) if row.query_id in queries])

    def of(self, queries: Container[str]) -> ReadPairs:
        """Return the pairs of some queries as data of their own, a copy."""
        judgments = tuple(row for row in self.data.judgments if row.query_id in queries)
        examples = self.examples_of(queries).remove_columns("members").add_column("members", np.arange(len(judgments)))
        return ReadPairs(replace(self.data, judgments=judgments), examples)

    @torch.no_grad()
    def logits(self, readout: TrainedReadout) -> Tensor:
        """Return what a readout makes of each judgment, logits `[judgments, 11]`."""
        device = readout.rows.device
        batches = self.examples.iter(_PAIRS)
        return torch.cat([readout(torch.tensor(batch["features"], device=device)).cpu() for batch in batches])


def moments_of(examples: datasets.Dataset) -> Tensor:
    """Return the mean of x xᵀ over the features x of some examples, `[hidden, hidden]` float32."""
    width = len(examples[0]["features"])
    found = np.zeros((width, width))
    for batch in examples.iter(_PAIRS):
        features = np.asarray(batch["features"], dtype=np.float64)
        found += features.T @ features
    return torch.tensor(found / len(examples), dtype=torch.float32)


@dataclass(frozen=True)
class ReadoutFits:
    """What all fits of one run share.

    Attributes:
        backbone: frozen.
        tokenizer: the backbone's.
        config: of phase 2.
        rows: `[11, hidden]`, where a fit starts.
        temperature: where a fit starts.
        dtype: in which rows are stored.
        pairs: of the training split.
    """

    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    config: ScalarConfig
    rows: Tensor
    temperature: float
    dtype: torch.dtype
    pairs: ReadPairs

    @property
    def queries(self) -> set[str]:
        """The judged training queries."""
        return {row.query_id for row in self.pairs.data.judgments}

    def start(self) -> TrainedReadout:
        """Return the readout as it came."""
        hidden = self.rows.shape[1]
        return TrainedReadout(self.rows, self.temperature, moments=torch.zeros(hidden, hidden))

    def trainer(self, queries: set[str], **changes: Any) -> ScalarTrainer:
        """Return the trainer of a fit to some queries, of which a fifth is held out to say when to stop.

        A single query is learned from and held out both.

        Args:
            queries: judged ones.
            changes: of the arguments.
        """
        held_out = folds(queries, self.config.seed)[0]
        learned = self.pairs.examples_of(queries - held_out or queries)
        measured = self.pairs.of(held_out)
        return ScalarTrainer(
            self.backbone,
            replace(self.config, **changes) if changes else self.config,
            readout=TrainedReadout(self.rows, self.temperature, moments=moments_of(learned)),
            held_out=measured.data,
            train_dataset=learned,
            eval_dataset=measured.examples,
            processing_class=self.tokenizer,
        )

    def settled(self, trainer: ScalarTrainer) -> TrainedReadout:
        """Return what a trainer that is done has found: its best state, rounded as it is stored."""
        trainer.evaluate()  # the last state has a chance too
        readout = trainer.readout
        readout.take_best()
        with torch.no_grad():
            readout.rows.copy_(readout.rows.to(self.dtype))
        return readout

    def choice(self, console: Console) -> ReadoutChoice:
        """Return which readout to publish: each fifth of the queries is scored by a fit to the other four.

        Args:
            console: where progress is shown.
        """
        came = evaluate("came", self.pairs.data, _distribution(self.pairs.logits(self.start())))
        mse = came.calibrated[MSE].mean
        if len(self.queries) < LEAST_QUERIES:
            return ReadoutChoice(len(self.queries), mse, {})
        parts = folds(self.queries, self.config.seed)
        logits = torch.zeros(len(self.pairs.data.judgments), len(BIN_VALUES))
        quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
        with WorkProgress(console=console) as progress:
            task = progress.add_task("cross-validating", total=FOLDS)
            for part in parts:
                trainer = self.trainer(self.queries - part, **quiet)
                trainer.train()
                scored = torch.tensor([row.query_id in part for row in self.pairs.data.judgments])
                logits[scored] = self.pairs.logits(self.settled(trainer))[scored]
                progress.advance(task, 1)
        trained = evaluate("trained", self.pairs.data, _distribution(logits))
        gains = difference(trained, came)
        return ReadoutChoice(len(self.queries), mse, {name: gains[name] for name in (MSE, RPS)})


def _distribution(logits: Tensor) -> Distribution:
    return Distribution.from_logits(logits.numpy())
