"""The trainer of encoders: sentence-transformers' `CrossEncoderTrainer` with our loss, batches and figures.

Its examples are pairs that are token ids already, so the trainer never tokenizes. The loss is that of phase 1. What is trained, and
from what data, is `train.encoder`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.records import Dataset
from train.progress import TrainingBar
from train.states import saving
from train.trainers import distribution_loss, validation_metrics


@dataclass
class EncoderConfig(CrossEncoderTrainingArguments):
    """Arguments of the trainer: all of sentence-transformers' and transformers', and these.

    Attributes:
        variance: `fixed` (a Gaussian around the label, published widths), `fitted` (widths from the annotators'
            disagreement in the data) or `empirical` (the annotators' own histogram, smoothed).
        mse_weight: λ of the mean's squared error beside the KL divergence; 0 leaves it out.
    """

    variance: Literal["fixed", "fitted", "empirical"] = field(
        default="fixed", metadata={"help": "how targets get their width"}
    )
    mse_weight: float = field(default=0.0, metadata={"help": "λ of the squared error of the mean"})


class BinLoss(nn.Module):
    """KL(target ‖ model) + λ · MSE of the mean, as the trainer wants a loss: a module that calls the model.

    Args:
        model: with eleven labels.
        mse_weight: λ.
    """

    def __init__(self, model: CrossEncoder, mse_weight: float = 0.0) -> None:
        """Keep the model under the name by which the trainer finds it, to replace it where it is wrapped."""
        super().__init__()
        self.model = model
        self.mse_weight = mse_weight

    def forward(
        self, inputs: list[Tensor], labels: Tensor, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """Return the loss, a scalar in nats.

        Args:
            inputs: token ids `[n, length]`, attention mask `[n, length]` and relevance `[n]`.
            labels: target distributions `[n, 11]`.
            prompt: unused; the trainer passes it.
            task: unused; the trainer passes it.
        """
        return self.of(self.logits(inputs), labels, relevance=inputs[2])

    def logits(self, inputs: list[Tensor]) -> Tensor:
        """Return logits `[n, 11]` in float32."""
        return self.model({"input_ids": inputs[0], "attention_mask": inputs[1]})["scores"].float()

    def of(self, logits: Tensor, targets: Tensor, relevance: Tensor) -> Tensor:
        """Return the loss of logits `[n, 11]`."""
        return distribution_loss(logits, targets, relevance, self.mse_weight)


@dataclass
class PairCollator(CrossEncoderDataCollator):
    """Pads pairs that are token ids already, on the right; the library's own collator passes texts on.

    Attributes:
        pad_id: the padding token.
    """

    pad_id: int = 0

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask`, `relevance` (the inputs of `BinLoss`, in this order) and `label`."""
        rows = [torch.tensor(row["input_ids"]) for row in features]
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "relevance": torch.tensor([row["relevance"] for row in features]),
            "label": torch.tensor([row["label"] for row in features]),
        }


class LengthSampler(LengthGroupedSampler):
    """Orders pairs so that those of a batch have like lengths; the order depends on the seed and the epoch alone.

    The library's sampler draws from a generator whose state a resumed run has lost.

    Args:
        batch_size: pairs of a batch.
        lengths: of each pair, in tokens.
        seed: of the first epoch's order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        """Start with the first epoch."""
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; accelerate calls this when an epoch begins."""
        self.generator.manual_seed(self.seed + epoch)


def length_batches(
    dataset: datasets.Dataset, batch_size: int, drop_last: bool, seed: int = 0, **_: Any
) -> DefaultBatchSampler:
    """Return batches of pairs with like lengths: the trainer's `batch_sampler` unless the recipe names one."""
    lengths = [len(ids) for ids in dataset["input_ids"]]
    return DefaultBatchSampler(LengthSampler(batch_size, lengths, seed), batch_size=batch_size, drop_last=drop_last)


class BinEvaluator(BaseEvaluator):
    """Measures loss, nDCG@5 and RPS on the validation queries, with one forward pass a pair.

    Args:
        validation: the judged queries.
        rows: their pairs (`pairs_dataset`), in the order of the judgments.
        collate: makes a batch.
        config: its `mse_weight` and `per_device_eval_batch_size` are read.
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
        loss = BinLoss(model, self.config.mse_weight)
        logits = torch.zeros(len(self.rows), len(BIN_VALUES))
        total = 0.0
        order = np.argsort([len(ids) for ids in self.rows["input_ids"]])[::-1]
        for start in range(0, len(order), self.config.per_device_eval_batch_size):
            places = order[start : start + self.config.per_device_eval_batch_size].tolist()
            batch = {name: value.to(model.device) for name, value in self.collate(self.rows.select(places)).items()}
            targets = batch.pop("label")
            found = loss.logits(list(batch.values()))
            total += float(loss.of(found, targets, batch["relevance"])) * len(places)
            logits[places] = found.cpu()
        return logits, total / len(self.rows)

    def __call__(
        self, model: CrossEncoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return `loss`, `ndcg@5` and `rps`; nothing is written."""
        logits, loss = self.logits(model)
        return {"loss": loss, **validation_metrics(self.validation, Distribution.from_logits(logits.numpy()))}


class EncoderTrainer(CrossEncoderTrainer):
    """The library's trainer with our progress bar, saved states that are whole or not there, and no card of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Replace the library's bars and printed dictionaries."""
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TrainingBar)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Collect nothing: the library's card would show rows of the catalog."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save the state so that a kill or a full disk leaves the last good one standing."""
        with saving(Path(self.args.output_dir), self.state.global_step, first=self.args.should_save):
            super()._save_checkpoint(model, trial)
