"""Phase 1 as a trainer, and what both phases share: TRL's `SFTTrainer` with another forward pass and another loss.

The model's forward is replaced by one that returns the eleven bin logits of the pairs in a batch: last hidden state ×
11 rows, never the vocabulary's logits. All else (PEFT, accelerate, resume, schedules, loggers) is the library's. Phase
1 matches a target distribution; phase 2 is `scalar_trainer`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel, TrainerControl
from trl import SFTConfig, SFTTrainer

from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.data.dataset import Dataset
from train.batches import EpochOrder, TokenBudgetSampler
from train.inputs import reading_cost, rows_of
from train.measuring import ReadingCost, ValidationSample
from train.optim import MasterWeights, MuonAdamW, hidden_matrices
from train.packing import Row, collate, last_states
from train.pair_trainer import PairTrainer, TargetArguments, target_loss, validation_metrics


@dataclass
class DistributionalConfig(TargetArguments, SFTConfig):
    """Arguments of phase 1: all of TRL's, those of `TargetArguments`, and these.

    Attributes:
        row_tokens: the most tokens of a training row, which holds the pairs that share a prefix.
        batch_tokens: the most tokens of a batch on one device, padding included; it takes the place of
            `per_device_train_batch_size`.
        readout_learning_rate: of the eleven rows; None gives them `learning_rate`.
        muon_learning_rate: if given, hidden matrices are trained by Muon with this peak and the rest by AdamW with
            `learning_rate`; otherwise `optim` decides.
    """

    row_tokens: int = field(default=512, metadata={"help": "the most tokens of a training row"})
    batch_tokens: int = field(default=4096, metadata={"help": "the most tokens of a batch on one device"})
    readout_learning_rate: float | None = field(default=None, metadata={"help": "of the eleven rows"})
    muon_learning_rate: float | None = field(default=None, metadata={"help": "peak learning rate of Muon"})


class BinRows(nn.Module):
    """The eleven rows of the output matrix as a module of their own, in float32.

    The bin tokens are never part of an input, so that apart from a tied matrix their rows learn just the same. Apart,
    they can have a learning rate and a dtype of their own, PEFT can save them beside a LoRA, and no step touches the
    whole matrix for their sake.

    Args:
        rows: `[11, hidden]`, where to start.
    """

    def __init__(self, rows: Tensor) -> None:
        """Copy the rows."""
        super().__init__()
        self.weight = nn.Parameter(rows.detach().clone().float())

    def forward(self, features: Tensor) -> Tensor:
        """Return logits `[n, 11]` of features `[n, hidden]`."""
        return features @ self.weight.T


def add_bin_rows(model: PreTrainedModel, token_ids: Sequence[int]) -> None:
    """Give the model its eleven rows as the module `bin_rows`, to be trained.

    Without it they stay frozen in the output matrix.
    """
    matrix = model.get_output_embeddings().weight
    model.bin_rows = BinRows(matrix[list(token_ids)])
    if matrix is not model.get_input_embeddings().weight:
        matrix.requires_grad_(False)  # the rest of an untied output matrix is never read


class BinTrainer(PairTrainer, SFTTrainer):
    """What both phases share: the model returns bin logits, and validation is ranked, not only its loss measured.

    Args:
        model: its forward already returns bin logits.
        args: of the phase.
        validation: the judged validation queries; None measures nothing while training.
        kwargs: of `SFTTrainer`; each row of `eval_dataset` says in `members` which judgments of `validation` it holds.
    """

    control: TrainerControl
    eval_dataset: Any
    validated: Tensor
    """Bin logits `[judgments, 11]` of the last `evaluate`."""

    def __init__(self, model: nn.Module, args: SFTConfig, *, validation: Dataset | None, **kwargs: Any) -> None:
        """Prepare TRL's trainer for data that is tokenized."""
        self.validation = validation
        args.dataset_kwargs = {"skip_prepare_dataset": True}
        args.remove_unused_columns = False
        super().__init__(model, args=args, **kwargs)

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return the mean loss, a scalar.

        Args:
            logits: `[pairs, 11]`.
            wanted: `relevance` `[pairs]` and, in phase 1, `targets` `[pairs, 11]` and `queries` `[pairs]`.
        """
        raise NotImplementedError

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return this batch's part of the mean over all pairs of the step, on whatever processes they are."""
        inputs, wanted = _split_batch(inputs)
        logits = model(**inputs)
        loss = self.pair_loss(logits, wanted)
        if num_items_in_batch is not None:
            loss = loss * self.share(len(logits), num_items_in_batch)
        return (loss, {"logits": logits}) if return_outputs else loss

    @torch.no_grad()
    def validation_logits(self) -> tuple[Tensor, float]:
        """Return bin logits `[judgments, 11]` of the validation queries, in their order, and the mean loss."""
        assert self.validation is not None, "there are no validation queries"
        model = self.model_wrapped.eval()
        logits = torch.zeros(len(self.validation.judgments), len(BIN_VALUES))
        losses = []
        for batch in self._validation_batches():
            inputs, wanted = _split_batch(self._prepare_inputs(batch))
            with self.compute_loss_context_manager():
                found = model(**inputs)
            logits[wanted["members"].cpu()] = found.float().cpu()
            losses.append(float(self.pair_loss(found, wanted)) * len(found))
        return logits, sum(losses) / len(logits)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return loss, nDCG@5 and RPS on the validation queries, each with the prefix; every process measures all."""
        assert self.validation is not None, "there are no validation queries"
        logits, loss = self.validation_logits()
        self.validated = logits
        measured = {"loss": loss, **validation_metrics(self.validation, Distribution.from_logits(logits.numpy()))}
        named = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        self.log(dict(named))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named

    def _validation_batches(self) -> DataLoader[Any]:
        return DataLoader(
            self.eval_dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator
        )


class DistributionalTrainer(BinTrainer):
    """Phase 1: KL(target ‖ model) over the bins, with λ · MSE of the mean and a relative loss if asked for.

    Its data sets have one packed row an example (`train.inputs.rows_dataset`).

    Args:
        model: a causal language model, or PEFT's wrapper of one.
        args: of phase 1.
        token_ids: of the eleven bin tokens.
        temperature: by which a checkpoint divides the logits; of a base that has one.
        kwargs: of `BinTrainer`.
    """

    args: DistributionalConfig
    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        args: DistributionalConfig,
        *,
        token_ids: list[int],
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Replace the forward pass."""
        base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        base.bin_token_ids = token_ids
        base.bin_temperature = temperature
        base.forward = MethodType(_bin_logits, base)
        args.per_device_train_batch_size = 1  # a batch is what the sampler says
        super().__init__(model, args, data_collator=collate_examples, **kwargs)
        if isinstance(model, PeftModel):  # TRL makes them bfloat16 on a quantized base
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[list[int]]:
        """Fill batches by tokens, in an order that depends on the seed and the epoch alone."""
        sampler = budget_sampler(self.train_dataset if train_dataset is None else train_dataset, self.args)
        self.add_callback(EpochOrder(sampler))
        return sampler

    @property
    def reading_cost(self) -> ReadingCost:
        """Tokens of the validation queries."""
        return reading_cost(self.eval_dataset)

    @contextmanager
    def measuring(self, sample: ValidationSample) -> Iterator[None]:
        """Measure a sample of the validation queries while the block lasts."""
        assert self.validation is not None, "there are no validation queries"
        whole = self.validation, self.eval_dataset
        self.validation, self.eval_dataset = sample.of(self.validation), rows_of(self.eval_dataset, sample.places)
        try:
            yield
        finally:
            self.validation, self.eval_dataset = whole

    def _validation_batches(self) -> DataLoader[Any]:
        sampler = TokenBudgetSampler(
            list(self.eval_dataset["length"]),
            self.args.batch_tokens,
            groups=_groups(self.eval_dataset, self.args),
            shuffle=False,
        )
        return DataLoader(self.eval_dataset, batch_sampler=sampler, collate_fn=self.data_collator)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build Muon with AdamW if the recipe asks for it, else what `optim` names.

        The eleven rows have no weight decay, and their own learning rate if the recipe gives one. Weights that are
        trained in bfloat16 are updated through a float32 copy.
        """
        if self.optimizer is not None:
            return self.optimizer
        model = self.model if model is None else model
        rows: list[nn.Parameter] = [
            parameter for name, parameter in model.named_parameters() if _is_bin_row(name, parameter)
        ]
        rate = self.args.readout_learning_rate or self.args.learning_rate
        readout: dict[str, Any] = {"params": rows, "lr": rate, "weight_decay": 0.0}
        if self.args.muon_learning_rate is None:
            self.optimizer = super().create_optimizer(model)
            for group in self.optimizer.param_groups:
                group["params"] = _without(group["params"], rows)
            self.optimizer.add_param_group(readout)
        else:
            matrices, others = hidden_matrices(model)
            self.optimizer = MuonAdamW(
                matrices,
                [{"params": _without(others, rows)}, readout],
                muon_lr=self.args.muon_learning_rate,
                adamw_lr=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
            )
        if any(p.dtype is torch.bfloat16 for group in self.optimizer.param_groups for p in group["params"]):
            self.optimizer = MasterWeights(self.optimizer)
        return self.optimizer

    def pair_loss(self, logits: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """Return KL(target ‖ model) and what the arguments add to it, averaged over the pairs of the batch."""
        return target_loss(logits, wanted, self.args)


def budget_sampler(dataset: Any, args: DistributionalConfig) -> TokenBudgetSampler:
    """Return the plan of this process's batches over packed rows."""
    return TokenBudgetSampler(
        list(dataset["length"]),
        args.batch_tokens,
        groups=_groups(dataset, args),
        processes=args.world_size,
        accumulation=args.gradient_accumulation_steps,
        rank=args.process_index,
        seed=args.seed,
    )


def collate_examples(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return a batch of packed rows.

    Returns:
        the model's inputs, and of its pairs `targets` `[n, 11]`, `relevance`, `members` and `queries` `[n]`.
    """
    rows = [Row(example["prefix"], example["tails"], example["members"]) for example in examples]
    return {
        **collate(rows),
        "targets": torch.tensor([target for example in examples for target in example["targets"]]),
        "relevance": torch.tensor([label for example in examples for label in example["relevance"]]),
        "members": torch.tensor([member for example in examples for member in example["members"]]),
        "queries": torch.tensor([query for example in examples for query in example["queries"]]),
    }


def _groups(dataset: Any, args: DistributionalConfig) -> list[int] | None:
    """Return the query of each row, where a batch must hold all its rows."""
    return [queries[0] for queries in dataset["queries"]] if args.whole_queries else None


def _split_batch(batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what the model reads, and what it should say."""
    names: tuple[str, ...] = ("targets", "relevance", "members", "queries")
    wanted = {name: batch[name] for name in names if name in batch}
    return {name: value for name, value in batch.items() if name not in wanted}, wanted


def _is_bin_row(name: str, parameter: nn.Parameter) -> bool:
    return parameter.requires_grad and "bin_rows" in name


def _without(parameters: list[nn.Parameter], left_out: list[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if all(parameter is not other for other in left_out)]


def _bin_logits(
    self: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, readout: Tensor, **_: Any
) -> Tensor:
    """The forward pass of phase 1: bin logits `[pairs, 11]` in float32, divided by the temperature."""
    last = last_states(self, input_ids, position_ids, attention_mask, readout)
    with torch.autocast(last.device.type, enabled=False):
        if "bin_rows" in self._modules:
            return self.bin_rows(last) / self.bin_temperature
        return last @ self.get_output_embeddings().weight[self.bin_token_ids].float().T / self.bin_temperature
