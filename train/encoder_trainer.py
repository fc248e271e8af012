"""The trainer of encoders: sentence-transformers' `CrossEncoderTrainer` with our loss, batches and figures.

Its examples are pairs that are token ids already, so the trainer never tokenizes. The loss is that of phase 1. What is
trained, and from what data, is `train.encoder`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import datasets
import torch
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.scorers.transformers import length_batches
from train.attention import attention_kernel
from train.batches import EpochOrder, TokenBudgetSampler
from train.measuring import ReadingCost, ValidationSample
from train.pair_trainer import PairTrainer, TargetArguments, target_loss, validation_metrics


@dataclass
class EncoderConfig(TargetArguments, CrossEncoderTrainingArguments):
    """Arguments of the trainer: all of sentence-transformers' and transformers', those of `TargetArguments`, and these.

    Attributes:
        batch_tokens: the most tokens of a batch on one device, padding included; it takes the place of
            `per_device_train_batch_size`, and of the one for evaluation.
    """

    batch_tokens: int = field(default=8192, metadata={"help": "tokens of a batch on one device, padding included"})


class BinLoss(nn.Module):
    """KL(target ‖ model) and what the arguments add to it, as the trainer wants a loss: a module that calls the model.

    Args:
        model: with eleven labels.
        args: λ, and the relative loss with its weight.
    """

    def __init__(self, model: CrossEncoder, args: TargetArguments) -> None:
        """Keep the model under the name by which the trainer finds it, to replace it where it is wrapped."""
        super().__init__()
        self.model = model
        self.args = args

    def forward(
        self, inputs: list[Tensor], labels: Tensor, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """Return the loss, a scalar in nats.

        Args:
            inputs: token ids `[n, length]`, attention mask `[n, length]`, relevance `[n]` and queries `[n]`.
            labels: target distributions `[n, 11]`.
            prompt: unused; the trainer passes it.
            task: unused; the trainer passes it.
        """
        return self.of(self.logits(inputs), labels, relevance=inputs[2], queries=inputs[3])

    def logits(self, inputs: list[Tensor]) -> Tensor:
        """Return logits `[n, 11]` in float32."""
        with attention_kernel(inputs[0]):
            scores: Tensor = self.model({"input_ids": inputs[0], "attention_mask": inputs[1]})["scores"]
        return scores.float()

    def of(self, logits: Tensor, targets: Tensor, relevance: Tensor, queries: Tensor) -> Tensor:
        """Return the loss of logits `[n, 11]`."""
        return target_loss(logits, {"targets": targets, "relevance": relevance, "queries": queries}, self.args)


@dataclass
class PairCollator(CrossEncoderDataCollator):
    """Pads pairs that are token ids already, on the right; the library's own collator passes texts on.

    Attributes:
        pad_id: the padding token.
    """

    pad_id: int = 0

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask`, `relevance`, `queries` (`BinLoss` has this order) and `label`."""
        rows = [torch.tensor(row["input_ids"]) for row in features]
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "relevance": torch.tensor([row["relevance"] for row in features]),
            "queries": torch.tensor([row["query"] for row in features]),
            "label": torch.tensor([row["label"] for row in features]),
        }


class BinEvaluator(BaseEvaluator):
    """Measures loss, nDCG@5 and RPS on the validation queries, with one forward pass a pair.

    Args:
        validation: the judged queries.
        rows: their pairs (`pairs_dataset`), in the order of the judgments.
        collate: makes a batch.
        config: its loss and `batch_tokens` are read.
    """

    def __init__(
        self, validation: Dataset, rows: datasets.Dataset, collate: PairCollator, config: EncoderConfig
    ) -> None:
        """Keep what is measured."""
        super().__init__()
        self.validation = validation
        self.rows = rows
        self.collate = collate
        self.config = config

    @torch.no_grad()
    def logits(self, model: CrossEncoder) -> tuple[Tensor, float]:
        """Return bin logits `[judgments, 11]`, in the judgments' order, and the mean loss."""
        model.eval()
        loss = BinLoss(model, self.config)
        logits = torch.zeros(len(self.rows), len(BIN_VALUES))
        total = 0.0
        for places in self._batches():
            batch = {name: value.to(model.device) for name, value in self.collate(self.rows.select(places)).items()}
            targets = batch.pop("label")
            found = loss.logits(list(batch.values()))
            total += float(loss.of(found, targets, batch["relevance"], batch["queries"])) * len(places)
            logits[places] = found.cpu()
        return logits, total / len(self.rows)

    def __call__(
        self, model: CrossEncoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return `loss`, `ndcg@5` and `rps`; nothing is written."""
        logits, loss = self.logits(model)
        return {"loss": loss, **validation_metrics(self.validation, Distribution.from_logits(logits.numpy()))}

    @property
    def reading_cost(self) -> ReadingCost:
        """Tokens of the validation queries; each pair is read alone."""
        lengths = _lengths(self.rows)
        return ReadingCost(sum(lengths), lengths)

    def only(self, sample: ValidationSample) -> BinEvaluator:
        """Return one that measures a sample of the queries."""
        return BinEvaluator(sample.of(self.validation), self.rows.select(sample.places), self.collate, self.config)

    def _batches(self) -> Iterable[list[int]]:
        lengths, budget, queries = _lengths(self.rows), self.config.batch_tokens, _groups(self.rows, self.config)
        if queries is None:
            return length_batches(lengths, budget)
        return TokenBudgetSampler(lengths, budget, groups=queries, shuffle=False)


class EncoderTrainer(PairTrainer, CrossEncoderTrainer):
    """The library's trainer with batches by a token budget."""

    args: EncoderConfig
    evaluator: BinEvaluator

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Collect nothing: the library's card would show rows of the catalog."""

    def get_batch_sampler(self, dataset: datasets.Dataset, *_: Any, **__: Any) -> TokenBudgetSampler:
        """Return the batches of all processes; accelerate deals them out."""
        sampler = budget_sampler(dataset, self.args)
        self.add_callback(EpochOrder(sampler))
        return sampler

    @property
    def reading_cost(self) -> ReadingCost:
        """Tokens of the validation queries."""
        return self.evaluator.reading_cost

    @contextmanager
    def measuring(self, sample: ValidationSample) -> Iterator[None]:
        """Measure a sample of the validation queries while the block lasts."""
        whole = self.evaluator
        self.evaluator = whole.only(sample)
        try:
            yield
        finally:
            self.evaluator = whole

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return this batch's part of the mean over all pairs of the step, on whatever processes they are."""
        assert num_items_in_batch is not None, "the trainer only trains; BinEvaluator measures"
        pairs = len(inputs["relevance"])  # the library takes the batch apart
        return super().compute_loss(model, inputs) * self.share(pairs, num_items_in_batch)


def budget_sampler(rows: datasets.Dataset, args: EncoderConfig) -> TokenBudgetSampler:
    """Return the plan of all processes' batches over pairs: each step takes the next ones, process by process."""
    return TokenBudgetSampler(
        _lengths(rows),
        args.batch_tokens,
        groups=_groups(rows, args),
        accumulation=args.world_size * args.gradient_accumulation_steps,
        seed=args.seed,
    )


def _lengths(rows: datasets.Dataset) -> list[int]:
    return [len(ids) for ids in rows["input_ids"]]


def _groups(rows: datasets.Dataset, args: EncoderConfig) -> list[int] | None:
    """Return the query of each pair, where a batch must hold all its pairs."""
    return list(rows["query"]) if args.whole_queries else None
