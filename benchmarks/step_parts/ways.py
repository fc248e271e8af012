"""The ways to train a step, ours and TRL's, on random tokens; and what a process that does it sees."""

from __future__ import annotations

import logging
import math
import resource
import time
import warnings
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import datasets
import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Qwen3Config,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.card import Readout
from gen_rerank.system.memory import keep_freed_memory
from harness.traffic import Shape
from train import defaults
from train.bases import base_folder
from train.estimate import PUBLISHED
from train.fake_quantization import FakeQuantization, add_fake_quantization
from train.lora import Lora, with_lora
from train.packing import pack
from train.targets import gaussian
from train.trainers import DistributionalConfig, DistributionalTrainer, add_bin_rows, budget_sampler

Method = Literal["lora", "full"]

OURS, SHARED, ROUNDED = "eleven rows", "eleven rows, shared prefixes", "eleven rows, rounded"
PLAIN, FULL_LOGITS = "SFTTrainer", "SFTTrainer, full logits"

TAIL = 56  # tokens of a pair after the product: the query and the suffix
QUERIES = 4  # of a product, where prefixes are shared


@dataclass(frozen=True)
class StepRun:
    """What one process does.

    Attributes:
        shape: of the model.
        method: a LoRA, or all weights.
        way: one of the five of bench_step.py's first lines.
        steps: of the optimizer.
        pairs: of a step.
        tokens: of a pair.
        rounding: the scheme of the rounded way.
    """

    shape: Shape
    method: Method
    way: str
    steps: int
    pairs: int
    tokens: int
    rounding: FakeQuantization | None = None

    @property
    def queries(self) -> int:
        """Of a product: pairs that share a prefix."""
        return math.gcd(QUERIES, self.pairs) if self.way == SHARED else 1


@dataclass(frozen=True)
class StepFigures:
    """What one process saw.

    Attributes:
        step_seconds: of each step but the first, in the trainer's own loop, data loading included.
        before: bytes at the peak before the first step: libraries and weights on a CPU, weights on a GPU.
        peak: bytes at the peak of all: the process's resident memory on a CPU, allocated memory on a GPU.
    """

    step_seconds: tuple[float, ...]
    before: int
    peak: int

    @property
    def seconds(self) -> float:
        """The median step."""
        return median(self.step_seconds)

    @property
    def above_start(self) -> int:
        """Bytes at the peak that were not there before the first step."""
        return self.peak - self.before


class Watch(TrainerCallback):
    """Notes when each step ended and the peak of memory before the first."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.before = 0
        self.ends: list[float] = []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the peak so far."""
        self.before = peak_bytes()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the time, once all is computed."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def measured(self) -> StepFigures:
        """Return what was noted; steps are timed from end to end, which leaves the first one out."""
        return StepFigures(tuple(np.diff(self.ends).tolist()), self.before, peak_bytes())


class FullLogitsTrainer(SFTTrainer):
    """`SFTTrainer` with the loss that the model itself computes, from all logits in float32.

    It leaves out the entropy and the accuracy that TRL measures in every step.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of transformers' own trainer; without a cache of keys and values, as TRL's does."""
        return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, return_outputs, num_items_in_batch)


def measure(run: StepRun) -> StepFigures:
    """Train for the steps of a run and return what was seen; called once in a process."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    keep_freed_memory()
    torch.manual_seed(0)
    watch = Watch()
    with TemporaryDirectory() as folder:
        trainer = trainer_of(run, folder)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        trainer.train()
    return watch.measured()


def trainer_of(run: StepRun, folder: str) -> SFTTrainer:
    """Return the trainer of a run, with model and data."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base_folder("nano"))  # for its bin tokens; no text is read
    config = model_config(run.shape)
    lora = Lora() if run.method == "lora" else None
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if lora else torch.float32)
    arguments = {
        **(defaults.DISTRIBUTIONAL_LORA if lora else defaults.DISTRIBUTIONAL),
        "eval_strategy": "no",
        "output_dir": folder,
        "max_steps": run.steps,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    pairs = random_pairs(run, config.vocab_size)
    if run.way in (OURS, SHARED, ROUNDED):
        return our_trainer(run, model, lora, tokenizer, arguments, pairs)
    return peer_trainer(run, model, lora, tokenizer, arguments, pairs)


def our_trainer(
    run: StepRun,
    model: PreTrainedModel,
    lora: Lora | None,
    tokenizer: PreTrainedTokenizerFast,
    arguments: dict[str, Any],
    pairs: RandomPairs,
) -> SFTTrainer:
    """Return the trainer of phase 1; one that rounds adds the rounding of quantization-aware training."""
    token_ids = list(Readout.of(tokenizer.backend_tokenizer).token_ids)
    row_tokens = run.tokens + (run.queries - 1) * TAIL
    batch_tokens = run.pairs // run.queries * row_tokens
    ours = DistributionalConfig(**arguments, row_tokens=row_tokens, batch_tokens=batch_tokens)
    data = packed_rows(pairs, row_tokens)
    assert len(budget_sampler(data, ours)) == run.steps, "a batch is not a step's pairs"
    add_bin_rows(model, token_ids)
    if run.way == ROUNDED:
        assert run.rounding is not None
        add_fake_quantization(model, run.rounding)
    return DistributionalTrainer(
        with_lora(model, lora, seed=0, beside=("bin_rows",)) if lora else model,
        ours,
        token_ids=token_ids,
        validation=None,
        train_dataset=data,
        processing_class=tokenizer,
    )


def peer_trainer(
    run: StepRun,
    model: PreTrainedModel,
    lora: Lora | None,
    tokenizer: PreTrainedTokenizerFast,
    arguments: dict[str, Any],
    pairs: RandomPairs,
) -> SFTTrainer:
    """Return TRL's trainer, with its own loss or with all logits."""
    kind = FullLogitsTrainer if run.way == FULL_LOGITS else SFTTrainer
    more = {"per_device_train_batch_size": run.pairs, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return kind(
        with_lora(model, lora, seed=0) if lora else model,
        SFTConfig(**arguments, **more),
        train_dataset=answered(pairs, Readout.of(tokenizer.backend_tokenizer).token_ids),
        processing_class=tokenizer,
    )


def model_config(shape: Shape) -> PretrainedConfig:
    """Return the configuration of a shape."""
    if shape == "nano":
        return AutoConfig.from_pretrained(base_folder("nano"))
    return Qwen3Config(**PUBLISHED["Qwen/Qwen3-0.6B"])


@dataclass(frozen=True)
class RandomPairs:
    """Pairs to train on that say nothing.

    Attributes:
        encoded: the token ids of each; those of a product share all but their tails.
        products: of each.
        labels: of each, in [0, 1].
    """

    encoded: list[list[int]]
    products: list[str]
    labels: list[float]


def random_pairs(run: StepRun, vocabulary: int) -> RandomPairs:
    """Return the pairs of all steps of a run."""
    random = np.random.default_rng(0)
    count = run.steps * run.pairs
    tokens = random.integers(0, vocabulary, (count, run.tokens))
    products = np.arange(count) // run.queries
    tokens[:, :-TAIL] = tokens[products * run.queries, :-TAIL]
    labels = random.choice(BIN_VALUES, count).tolist()
    return RandomPairs(tokens.tolist(), products.astype(str).tolist(), labels)


def packed_rows(pairs: RandomPairs, row_tokens: int) -> datasets.Dataset:
    """Return the data of `DistributionalTrainer`."""
    rows = pack(pairs.encoded, pairs.products, row_tokens)
    targets = gaussian(pairs.labels)
    return datasets.Dataset.from_dict(
        {
            "prefix": [row.prefix for row in rows],
            "tails": [row.tails for row in rows],
            "targets": [targets[row.members].tolist() for row in rows],
            "relevance": [[pairs.labels[member] for member in row.members] for row in rows],
            "members": [row.members for row in rows],
            "queries": [row.members for row in rows],  # each pair has a query of its own
            "length": [row.length for row in rows],
        }
    )


def answered(pairs: RandomPairs, token_ids: tuple[int, ...]) -> datasets.Dataset:
    """Return the data of `SFTTrainer`: the answer takes a pair's last place, so that there are as many tokens."""
    answers = [token_ids[round(label * 10)] for label in pairs.labels]
    answered_pairs = list(zip(pairs.encoded, answers, strict=True))
    return datasets.Dataset.from_dict(
        {
            "input_ids": [[*ids[:-1], answer] for ids, answer in answered_pairs],
            "labels": [[-100] * (len(ids) - 1) + [answer] for ids, answer in answered_pairs],
        }
    )


def peak_bytes() -> int:
    """Return the most memory that this process has had: allocated on a GPU, resident on a CPU."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
