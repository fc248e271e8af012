"""Phase 2 as a trainer: the backbone stays as it is, only the eleven rows and the temperature move.

The readout is a module of its own beside the frozen model. It is drawn towards where it started, and remembers which
state was best on queries that it does not learn from. Which of the two readouts is published, `readout_choice` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import SFTConfig

from gen_rerank.data.dataset import Dataset
from train.pair_trainer import mean_score
from train.trainers import BinTrainer


@dataclass
class ScalarConfig(SFTConfig):
    """Arguments of phase 2: all of TRL's, and these.

    Its batches are pairs, and its inputs features that were computed once.

    Attributes:
        anchor_weight: of the anchor, the mean squared change of a logit, beside the squared error of the score; 0 lets
            the readout go wherever the training pairs pull it.
        patience: how many measurements on held-out queries may pass without a better one before training stops.
    """

    anchor_weight: float = field(default=0.01, metadata={"help": "of the mean squared change of a logit"})
    patience: int = field(default=3, metadata={"help": "measurements without a better one before it stops"})


class TrainedReadout(nn.Module):
    """The eleven rows and the temperature, apart from the frozen model: what phase 2 trains.

    It remembers where it started and which state was best on held-out queries; saved states of a run hold the latter.

    Args:
        rows: `[11, hidden]`, where to start.
        temperature: where to start.
        moments: `[hidden, hidden]`, the mean of x xᵀ over the training pairs' features x.

    Example:
        >>> readout = TrainedReadout(torch.zeros(11, 2), moments=torch.eye(2))
        >>> readout.rows.data += 3.0
        >>> float(readout.drift())
        18.0
    """

    start: Tensor
    moments: Tensor
    best_rows: Tensor
    best_log_temperature: Tensor
    best_loss: Tensor
    waited: Tensor

    def __init__(self, rows: Tensor, temperature: float = 1.0, *, moments: Tensor) -> None:
        """Copy the rows; the first state is the best one yet, at no known loss."""
        super().__init__()
        self.rows = nn.Parameter(rows.detach().clone().float())
        self.log_temperature = nn.Parameter(self.rows.new_tensor(temperature).log())
        self.register_buffer("start", self.rows.detach() / temperature, persistent=False)
        self.register_buffer("moments", moments.to(self.rows), persistent=False)
        self.register_buffer("best_rows", self.rows.detach().clone())
        self.register_buffer("best_log_temperature", self.log_temperature.detach().clone())
        self.register_buffer("best_loss", self.rows.new_tensor(math.inf))
        self.register_buffer("waited", torch.zeros((), dtype=torch.int64, device=self.rows.device))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits `[n, 11]` of features `[n, hidden]`."""
        return features @ self.rows.T / self.log_temperature.exp()

    def drift(self) -> Tensor:
        """Return the mean squared change of a logit since the start, over the training pairs and the bins; a scalar.

        For a change D of the rows (divided by the temperature) that is tr(D M Dᵀ) / 11, with the moments M. It is an L2
        penalty towards the starting point (L2-SP: Li, Grandvalet & Davoine 2018, arXiv 1802.01483) in the space of what
        the readout says and not of its weights (Benjamin, Rolnick & Körding 2019, arXiv 1805.08289). A logit has the
        same unit at any width, so one weight of the penalty does for all.
        """
        change = self.rows / self.log_temperature.exp() - self.start
        return ((change @ self.moments) * change).sum() / len(change)

    @torch.no_grad()
    def remember(self, loss: float) -> None:
        """Keep this state if its held-out loss is less than that of any before, else count how long that has been."""
        if loss < self.best_loss:
            self.best_rows.copy_(self.rows)
            self.best_log_temperature.copy_(self.log_temperature)
            self.best_loss.fill_(loss)
            self.waited.zero_()
        else:
            self.waited += 1

    @torch.no_grad()
    def take_best(self) -> None:
        """Go back to the best state."""
        self.rows.copy_(self.best_rows)
        self.log_temperature.copy_(self.best_log_temperature)


class ScalarTrainer(BinTrainer):
    """Phase 2: squared error of the mean and the anchor, on features that the frozen backbone computed once.

    Its data sets have `features` `[hidden]`, `relevance` and `members` for each pair. What is measured on the way are
    held-out training queries, and the readout remembers which state was best on them.

    Args:
        model: the backbone, which is frozen.
        args: of phase 2.
        readout: what is trained; it is put beside the backbone.
        held_out: the judged queries of `eval_dataset`.
        kwargs: of `BinTrainer`.
    """

    args: ScalarConfig

    def __init__(
        self, model: PreTrainedModel, args: ScalarConfig, *, readout: TrainedReadout, held_out: Dataset, **kwargs: Any
    ) -> None:
        """Freeze the model, put the readout beside it, and measure where that starts."""
        model.requires_grad_(False)
        model.readout = readout
        model.forward = MethodType(_readout_logits, model)
        super().__init__(model, args, data_collator=_stack, validation=held_out, **kwargs)
        self.readout = readout
        readout.remember(self.validation_logits()[1])

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error of the score; while training, with the anchor."""
        loss = F.mse_loss(mean_score(logits), wanted["relevance"])
        return loss + self.args.anchor_weight * self.readout.drift() if self.model.training else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return loss, nDCG@5 and RPS on the held-out queries, and stop when they have been no better for too long."""
        prefix = f"{metric_key_prefix}_held_out"
        measured = super().evaluate(eval_dataset, ignore_keys, prefix)
        self.readout.remember(measured[f"{prefix}_loss"])
        if self.readout.waited >= self.args.patience:
            self.control.should_training_stop = True
        return measured


def _stack(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    names = ("features", "relevance", "members")
    return {name: torch.tensor(np.stack([example[name] for example in examples])) for name in names}


def _readout_logits(self: PreTrainedModel, features: Tensor, **_: Any) -> Tensor:
    return self.readout(features)
