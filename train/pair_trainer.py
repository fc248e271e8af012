"""What the trainers of decoders and encoders share: the mean over a step's pairs, the loss, the figures, whole states.

Batches hold a budget of tokens, so they differ in their number of pairs; a step's loss is the mean over its pairs. The
library's trainer that each builds on is `trainers`' and `encoder_trainer`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PrinterCallback, ProgressCallback, Trainer

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.data.dataset import Dataset
from gen_rerank.evaluation import metrics
from gen_rerank.evaluation.evaluation import HEADLINE, RPS
from train.progress import TrainingBar
from train.relative import Relative, relative_loss
from train.saved_states import saving
from train.targets import Variance


@dataclass
class TargetArguments:
    """What every trainer of distributions, decoder or encoder, is told about its targets.

    Attributes:
        variance: `fixed` (a Gaussian around the label, published widths), `fitted` (widths from the annotators'
            disagreement in the data) or `empirical` (the annotators' own histogram, smoothed).
        mse_weight: λ of the mean's squared error beside the KL divergence; 0 leaves it out.
        relative_loss: `ranknet`, `margin_mse` or `listwise` compares the means of one query's products with each other
            (`train.relative`), and batches hold whole queries; `none` leaves it out.
        relative_weight: of the relative loss beside the KL divergence.
    """

    variance: Variance = field(default="fixed", metadata={"help": "how targets get their width"})
    mse_weight: float = field(default=0.0, metadata={"help": "λ of the squared error of the mean"})
    relative_loss: Literal["none", Relative] = field(default="none", metadata={"help": "of the means within a query"})
    relative_weight: float = field(default=1.0, metadata={"help": "of the relative loss beside KL"})

    @property
    def whole_queries(self) -> bool:
        """Whether the pairs of a query must be in one batch."""
        return self.relative_loss != "none"


class PairTrainer(Trainer):
    """A trainer whose loss is a mean over pairs, with our progress bar, and saved states that are whole or not there.

    Batches have `relevance`, one entry a pair.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Replace the library's bars and printed dictionaries."""
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # `share` divides by the pairs of all batches of a step itself
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TrainingBar)

    def share(self, pairs: int, step_pairs: Tensor) -> Tensor:
        """Return what a batch's mean loss counts for in the mean over all pairs of a step.

        Args:
            pairs: of the batch.
            step_pairs: of the step, on whatever processes; the processes' gradients are averaged afterwards.
        """
        return pairs / step_pairs * self.accelerator.num_processes

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        """Return how many pairs a step has, over all its batches and processes."""
        pairs = torch.tensor(sum(len(batch["relevance"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(pairs).sum()

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save the state so that a kill or a full disk leaves the last good one standing."""
        with saving(Path(self.args.output_dir), self.state.global_step):
            super()._save_checkpoint(model, trial)


def distribution_loss(logits: Tensor, targets: Tensor, labels: Tensor, mse_weight: float = 0.0) -> Tensor:
    """Return KL(target ‖ model) + λ · MSE of the mean, averaged over pairs; a scalar in nats.

    Args:
        logits: `[n, 11]`.
        targets: `[n, 11]`, rows sum to 1 and have no zeros.
        labels: `[n]` in [0, 1].
        mse_weight: λ.

    Example:
        >>> even = torch.full((1, 11), 1 / 11)
        >>> distribution_loss(torch.zeros(1, 11), even, torch.tensor([0.5])).abs().round(decimals=4).item()
        0.0
    """
    loss = F.kl_div(logits.log_softmax(dim=-1), targets, reduction="batchmean")
    if mse_weight:
        loss = loss + mse_weight * F.mse_loss(mean_score(logits), labels)
    return loss


def target_loss(logits: Tensor, wanted: Mapping[str, Tensor], args: TargetArguments) -> Tensor:
    """Return the loss that the arguments ask for, averaged over the pairs of a batch; a scalar.

    It is `distribution_loss`, and with it the relative loss of the means.

    Args:
        logits: `[n, 11]`.
        wanted: of the pairs `targets` `[n, 11]`, `relevance` `[n]` and, for a relative loss, `queries` `[n]`.
        args: weights and kind.
    """
    loss = distribution_loss(logits, wanted["targets"], wanted["relevance"], args.mse_weight)
    if args.relative_loss != "none":
        found = relative_loss(args.relative_loss, mean_score(logits), wanted["relevance"], wanted["queries"])
        loss = loss + args.relative_weight * found
    return loss


def mean_score(logits: Tensor) -> Tensor:
    """Return the mean relevance `[n]` of logits `[n, 11]`; the differentiable twin of `Distribution.mean`."""
    return logits.softmax(dim=-1) @ torch.tensor(BIN_VALUES.tolist(), dtype=logits.dtype, device=logits.device)


def validation_metrics(dataset: Dataset, predicted: Distribution) -> dict[str, float]:
    """Return the headline measure (mean over queries) and RPS (mean over pairs), by their names in lower case.

    The headline measure is left out where no query defines it.

    Args:
        dataset: what is judged.
        predicted: one distribution a judgment, in their order.
    """
    rows = dataset.judgments
    gold = np.array([row.relevance for row in rows])
    ranked = metrics.ranking([r.query_id for r in rows], [r.product_id for r in rows], gold, predicted.mean)
    rps = metrics.ranked_probability_score(predicted, [row.labels or (row.relevance,) for row in rows])
    headline = ranked[HEADLINE][~np.isnan(ranked[HEADLINE])]
    return {**({HEADLINE.lower(): float(headline.mean())} if len(headline) else {}), RPS.lower(): float(rps.mean())}
