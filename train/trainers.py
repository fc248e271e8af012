"""The two phases as trainers: TRL's `SFTTrainer` with another forward pass and another loss.

The model's forward is replaced by one that returns the eleven bin logits of the pairs in a batch: last hidden state × 11
rows, never the vocabulary's logits. All else (PEFT, accelerate, resume, schedules, loggers) is the library's. Phase 1 matches a target
distribution; phase 2 keeps the backbone as it is and moves only the eleven rows and the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from peft import PeftModel
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTConfig, SFTTrainer

from gen_rerank.bins import BIN_VALUES
from train.optim import MuonAdamW, hidden_matrices
from train.packing import Row, collate


@dataclass
class DistributionalConfig(SFTConfig):
    """Arguments of phase 1: all of TRL's, and these.

    Attributes:
        variance: `fixed` (a Gaussian around the label) or `empirical` (the annotators' own histogram).
        mse_weight: λ of the mean's squared error beside the KL divergence; 0 leaves it out.
        row_tokens: the most tokens of a training row, which holds the pairs that share a prefix.
        muon_learning_rate: if given, hidden matrices are trained by Muon with this peak and the rest by AdamW with
            `learning_rate`; otherwise `optim` decides.
    """

    variance: Literal["fixed", "empirical"] = field(default="fixed", metadata={"help": "how targets get their width"})
    mse_weight: float = field(default=0.0, metadata={"help": "λ of the squared error of the mean"})
    row_tokens: int = field(default=512, metadata={"help": "the most tokens of a training row"})
    muon_learning_rate: float | None = field(default=None, metadata={"help": "peak learning rate of Muon"})


@dataclass
class ScalarConfig(SFTConfig):
    """Arguments of phase 2: all of TRL's. Its batches are pairs, and its inputs features that were computed once."""


class Readout(nn.Module):
    """The eleven rows and the temperature, apart from the frozen model: what phase 2 trains.

    Args:
        rows: `[11, hidden]`, where to start.
    """

    def __init__(self, rows: Tensor) -> None:
        """Copy the rows; the temperature starts at 1."""
        super().__init__()
        self.rows = nn.Parameter(rows.detach().clone().float())
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits `[n, 11]` of features `[n, hidden]`."""
        return features @ self.rows.T / self.log_temperature.exp()


class RowSampler(LengthGroupedSampler):
    """Batches of rows with like lengths; a resumed run sees the order that an undisturbed one sees.

    The library's sampler draws from the global generator, whose state at the start of the epoch a resumed run has lost.

    Args:
        batch_size: rows of a batch.
        lengths: of each row, in tokens.
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


class BinTrainer(SFTTrainer):
    """What both phases share: the model returns bin logits, and what it should have said is not its input."""

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return the loss, a scalar, of logits `[pairs, 11]`; `wanted` has `relevance` and, in phase 1, `targets`."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return the mean loss over the pairs of the batch."""
        names: tuple[str, ...] = ("targets", "relevance")
        wanted = {name: inputs.pop(name) for name in names if name in inputs}
        logits = model(**inputs)
        loss = self.pair_loss(logits, wanted)
        return (loss, {"logits": logits}) if return_outputs else loss


class DistributionalTrainer(BinTrainer):
    """Phase 1: KL(target ‖ model) over the bins, with λ · MSE of the mean if asked for.

    Its data set has one packed row an example (`rows_dataset`).
    """

    args: DistributionalConfig
    optimizer: torch.optim.Optimizer | None

    def __init__(
        self, model: PreTrainedModel, args: DistributionalConfig, *, token_ids: list[int], **kwargs: Any
    ) -> None:
        """Patch the forward pass after TRL has wrapped the model."""
        super().__init__(model, args=_own_data(args), data_collator=collate_examples, **kwargs)
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        base.forward = MethodType(_bin_logits, base)
        base.bin_token_ids = token_ids

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """Group rows of like length, in an order that depends on the seed and the epoch alone."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return RowSampler(self.args.train_batch_size, list(dataset["length"]), self.args.seed)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build Muon with AdamW if the recipe asks for it, else what `optim` names."""
        if self.args.muon_learning_rate is None:
            return super().create_optimizer(model)
        if self.optimizer is None:
            matrices, others = hidden_matrices(self.model if model is None else model)
            self.optimizer = MuonAdamW(
                matrices,
                others,
                muon_lr=self.args.muon_learning_rate,
                adamw_lr=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
            )
        return self.optimizer

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return KL(target ‖ model) + λ · MSE of the mean, averaged over the pairs of the batch."""
        return distribution_loss(logits, wanted["targets"], wanted["relevance"], self.args.mse_weight)


class ScalarTrainer(BinTrainer):
    """Phase 2: squared error of the mean, on features that the frozen backbone computed once.

    Its data set has `features` `[hidden]` and `relevance` for each pair.
    """

    def __init__(self, model: PreTrainedModel, args: ScalarConfig, *, token_ids: list[int], **kwargs: Any) -> None:
        """Freeze the model and put a trainable readout beside it."""
        model.requires_grad_(False)
        model.readout = Readout(model.get_output_embeddings().weight[token_ids])
        super().__init__(model, args=_own_data(args), data_collator=_stack, **kwargs)
        self.model.forward = MethodType(_readout_logits, self.model)

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error of the score."""
        return F.mse_loss(mean_score(logits), wanted["relevance"])


def distribution_loss(logits: Tensor, targets: Tensor, labels: Tensor, mse_weight: float = 0.0) -> Tensor:
    """Return KL(target ‖ model) + λ · MSE of the mean, averaged over pairs; a scalar in nats.

    Args:
        logits: `[n, 11]`.
        targets: `[n, 11]`, rows sum to 1 and have no zeros.
        labels: `[n]` in [0, 1].
        mse_weight: λ.
    """
    loss = F.kl_div(logits.log_softmax(dim=-1), targets, reduction="batchmean")
    if mse_weight:
        loss = loss + mse_weight * F.mse_loss(mean_score(logits), labels)
    return loss


def mean_score(logits: Tensor) -> Tensor:
    """Return the mean relevance `[n]` of logits `[n, 11]`; the differentiable twin of `Distribution.mean`."""
    return logits.softmax(dim=-1) @ torch.tensor(BIN_VALUES.tolist(), dtype=logits.dtype, device=logits.device)


def readout_rows(model: PreTrainedModel, token_ids: list[int]) -> Tensor:
    """Return the rows `[11, hidden]` of the output matrix, through PEFT's trainable tokens where there are any."""
    head = model.get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper):
        return head.token_adapter.trainable_tokens_delta[head.active_adapter]
    return head.weight[token_ids]


def collate_examples(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return a batch of packed rows: the model's inputs, `targets` `[pairs, 11]` and `relevance` `[pairs]`."""
    rows = [Row(example["prefix"], example["tails"], list(range(len(example["tails"])))) for example in examples]
    return {
        **collate(rows),
        "targets": torch.tensor([target for example in examples for target in example["targets"]]),
        "relevance": torch.tensor([label for example in examples for label in example["relevance"]]),
    }


def _stack(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {name: torch.tensor(np.stack([example[name] for example in examples])) for name in ("features", "relevance")}


def _own_data(args: Any) -> Any:
    """Tell TRL that the data is already tokenized and that no column is to be dropped."""
    args.dataset_kwargs = {"skip_prepare_dataset": True}
    args.remove_unused_columns = False
    return args


def _bin_logits(
    self: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, readout: Tensor, **_: Any
) -> Tensor:
    """The forward pass of phase 1: bin logits `[pairs, 11]` in float32."""
    hidden = self.get_decoder()(
        input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state
    last = hidden[readout[:, 0], readout[:, 1]].float()
    with torch.autocast(last.device.type, enabled=False):
        return last @ readout_rows(self, self.bin_token_ids).float().T


def _readout_logits(self: PreTrainedModel, features: Tensor, **_: Any) -> Tensor:
    return self.readout(features)
