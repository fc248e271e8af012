"""What eleven rows in place of the vocabulary's logits are worth in a training step: pairs/s and peak memory.

Trains a Qwen3 of the 0.6B shape (random weights, random tokens) for a few steps, with a LoRA and with all weights, in
four ways, each in a process of its own so that its peak memory is its own:

- `eleven rows`: `DistributionalTrainer`, one pair a row, so that every way reads the same number of tokens;
- `eleven rows, shared prefixes`: the same with several queries a product, as catalogs have them; it reads fewer;
- `SFTTrainer`: TRL's as it comes, the answer being the last of the pair's tokens and the only one with a label;
- `SFTTrainer, full logits`: the same with transformers' own loss, over all logits at every position.

With `--fake-quantization SCHEME`, all weights have a fifth way, `eleven rows, rounded`: the first with the rounding of
quantization-aware training in every layer.

All have the same weights' dtypes, autocast, optimizer, LoRA on all linear layers and allocator settings, and no
gradient checkpointing; under a LoRA ours also trains the eleven rows, which costs it time and memory that the peers do
not spend. Then: the padding of batches by length on the sample. Needs Linux.

Run: python benchmarks/bench_step.py --out results.json
"""

from __future__ import annotations

import json
import logging
import math
import resource
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, cast, get_args

import datasets
import numpy as np
import torch
import transformers
import trl
import typer
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
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
from gen_rerank.data.sample import make_sample
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from gen_rerank.system.memory import keep_freed_memory
from train.bases import base_folder
from train.batches import TokenBudgetSampler
from train.estimate import GIB, PUBLISHED
from train.fake_quantization import FakeQuantization, add_fake_quantization
from train.inputs import rows_dataset
from train.packing import PAD_TO, pack
from train.phases import phase1_defaults, with_lora
from train.recipe import Lora, Recipe
from train.targets import gaussian
from train.trainers import DistributionalConfig, DistributionalTrainer, add_bin_rows, budget_sampler

Method = Literal["lora", "full"]
Shape = Literal["0.6b", "nano"]

OURS, SHARED, ROUNDED, PLAIN, FULL_LOGITS = (
    "eleven rows",
    "eleven rows, shared prefixes",
    "eleven rows, rounded",
    "SFTTrainer",
    "SFTTrainer, full logits",
)
TARGET_SPEED, TARGET_MEMORY, TARGET_PADDING = 1.3, 0.6, 0.05

TAIL = 56  # tokens of a pair after the product: the query and the suffix
QUERIES = 4  # of a product, where prefixes are shared


@dataclass(frozen=True)
class Run:
    """What one process does.

    Attributes:
        shape: of the model.
        method: a LoRA, or all weights.
        way: one of the five of this module's first lines.
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
class Measured:
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

    def measured(self) -> Measured:
        """Return what was noted; steps are timed from end to end, which leaves the first one out."""
        return Measured(tuple(np.diff(self.ends).tolist()), self.before, peak_bytes())


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


def peak_bytes() -> int:
    """Return the most memory that this process has had: allocated on a GPU, resident on a CPU."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB


def measure(run: Run) -> Measured:
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


def trainer_of(run: Run, folder: str) -> SFTTrainer:
    """Return the trainer of a run, with model and data."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base_folder("nano"))  # for its bin tokens; no text is read
    token_ids = Readout.of(tokenizer.backend_tokenizer).token_ids
    config = model_config(run.shape)
    lora = Lora() if run.method == "lora" else None
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if lora else torch.float32)
    arguments = {
        **phase1_defaults(lora, validated=False),
        "output_dir": folder,
        "max_steps": run.steps,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    encoded, products, labels = random_pairs(run, config.vocab_size)
    if run.way in (OURS, SHARED, ROUNDED):
        row_tokens = run.tokens + (run.queries - 1) * TAIL
        batch_tokens = run.pairs // run.queries * row_tokens
        ours = DistributionalConfig(**arguments, row_tokens=row_tokens, batch_tokens=batch_tokens)
        data = packed_rows(encoded, products, labels, row_tokens)
        assert len(budget_sampler(data, ours)) == run.steps, "a batch is not a step's pairs"
        add_bin_rows(model, token_ids)
        if run.way == ROUNDED:
            assert run.rounding is not None
            add_fake_quantization(model, run.rounding)
        return DistributionalTrainer(
            with_lora(model, lora, seed=0, beside=("bin_rows",)) if lora else model,
            ours,
            token_ids=list(token_ids),
            validation=None,
            train_dataset=data,
            processing_class=tokenizer,
        )
    kind = FullLogitsTrainer if run.way == FULL_LOGITS else SFTTrainer
    return kind(
        with_lora(model, lora, seed=0) if lora else model,
        SFTConfig(
            **arguments,
            per_device_train_batch_size=run.pairs,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=answered(encoded, labels, token_ids),
        processing_class=tokenizer,
    )


def model_config(shape: Shape) -> PretrainedConfig:
    """Return the configuration of a shape."""
    if shape == "nano":
        return AutoConfig.from_pretrained(base_folder("nano"))
    return Qwen3Config(**PUBLISHED["Qwen/Qwen3-0.6B"])


def random_pairs(run: Run, vocabulary: int) -> tuple[list[list[int]], list[str], list[float]]:
    """Return token ids, product and label of every pair of a run; those of a product share all but their tails."""
    random = np.random.default_rng(0)
    count = run.steps * run.pairs
    tokens = random.integers(0, vocabulary, (count, run.tokens))
    products = np.arange(count) // run.queries
    tokens[:, :-TAIL] = tokens[products * run.queries, :-TAIL]
    return tokens.tolist(), products.astype(str).tolist(), random.choice(BIN_VALUES, count).tolist()


def packed_rows(
    encoded: list[list[int]], products: list[str], labels: list[float], row_tokens: int
) -> datasets.Dataset:
    """Return the data of `DistributionalTrainer`."""
    rows = pack(encoded, products, row_tokens)
    targets = gaussian(labels)
    return datasets.Dataset.from_dict(
        {
            "prefix": [row.prefix for row in rows],
            "tails": [row.tails for row in rows],
            "targets": [targets[row.members].tolist() for row in rows],
            "relevance": [[labels[member] for member in row.members] for row in rows],
            "members": [row.members for row in rows],
            "length": [row.length for row in rows],
        }
    )


def answered(encoded: list[list[int]], labels: list[float], token_ids: tuple[int, ...]) -> datasets.Dataset:
    """Return the data of `SFTTrainer`: the answer takes a pair's last place, so that there are as many tokens."""
    answers = [token_ids[round(label * 10)] for label in labels]
    return datasets.Dataset.from_dict(
        {
            "input_ids": [[*ids[:-1], answer] for ids, answer in zip(encoded, answers, strict=True)],
            "labels": [[-100] * (len(ids) - 1) + [answer] for ids, answer in zip(encoded, answers, strict=True)],
        }
    )


def in_own_process(run: Run) -> Measured:
    """Measure a run in a new process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, run).result()


def comparisons(measured: dict[Run, Measured], method: Method) -> list[dict[str, Any]]:
    """Return speed and memory of ours over each peer's, as ratios, for one method."""
    by_way = {run.way: found for run, found in measured.items() if run.method == method}
    rows = []
    pairs = [(OURS, FULL_LOGITS), (SHARED, FULL_LOGITS), (OURS, PLAIN), (SHARED, PLAIN), (ROUNDED, OURS)]
    for ours, peer in pairs:
        if ours not in by_way:
            continue
        first, second = by_way[ours], by_way[peer]
        rows.append(
            {
                "method": method,
                "ours": ours,
                "peer": peer,
                "speed": second.seconds / first.seconds,
                "peak": first.peak / second.peak,
                "above_start": first.above_start / second.above_start,
            }
        )
    return rows


def measured_table(measured: dict[Run, Measured]) -> Table:
    """Return one row a run."""
    one = next(iter(measured))
    where = f"{torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    memory = "allocated on the GPU" if torch.cuda.is_available() else "resident, of the whole process"
    table = Table(
        title=f"A training step of the {one.shape} shape: {one.pairs} pairs of {one.tokens} tokens, {where}",
        caption=f"Random weights; median of {one.steps - 1} steps, the first left out. Peak: {memory}; above start: "
        f"without what there was before the first step. SFTTrainer is TRL {trl.__version__}'s as it comes: it never "
        "holds all logits, but takes the vocabulary in tiles, on a CPU at every position, on a GPU at those with "
        f"a label. Shared prefixes: {math.gcd(QUERIES, one.pairs)} queries a product of {one.tokens - TAIL} tokens, "
        f"each with {TAIL} of its own.",
    )
    for name in ("Method", "Way"):
        table.add_column(name, no_wrap=True)
    for name in ("Pairs/s", "Step, s", "Peak, GiB", "Above start, GiB"):
        table.add_column(name, justify="right")
    for run, found in measured.items():
        sizes = (f"{found.peak / GIB:.2f}", f"{found.above_start / GIB:.2f}")
        table.add_row(run.method, run.way, f"{run.pairs / found.seconds:.2f}", f"{found.seconds:.2f}", *sizes)
    return table


def comparisons_table(rows: list[dict[str, Any]]) -> Table:
    """Return one row a comparison; the target is for equal tokens against full logits."""
    table = Table(
        title="Ours against the peer",
        caption=f"Target: at least {TARGET_SPEED}x the pairs a second and at most {TARGET_MEMORY:.0%} of the peak, "
        "reading the same tokens, against full logits.",
    )
    for name in ("Method", "Ours", "Peer"):
        table.add_column(name, no_wrap=True)
    for name in ("Pairs/s", "Peak", "Above start", "Target"):
        table.add_column(name, justify="right")
    for row in rows:
        met = ""
        if (row["ours"], row["peer"]) == (OURS, FULL_LOGITS):
            speed, memory = row["speed"] >= TARGET_SPEED, row["peak"] <= TARGET_MEMORY
            met = f"speed {'met' if speed else 'missed'}, memory {'met' if memory else 'missed'}"
        ratios = (f"{row['speed']:.2f}x", f"{row['peak']:.0%}", f"{row['above_start']:.0%}")
        table.add_row(row["method"], row["ours"], row["peer"], *ratios, met)
    return table


def paddings() -> list[dict[str, Any]]:
    """Return the padding of batches by length and in random order, on the sample's training pairs in three layouts."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base_folder("nano")).backend_tokenizer
    recipe = Recipe.load("nano")
    train = make_sample(0).of("train")
    targets = gaussian([row.relevance for row in train.judgments])
    packed, budget = recipe.distributional["row_tokens"], recipe.distributional["batch_tokens"]
    layouts = (
        ("nano prompt, packed rows, varied copies", recipe.prompt, packed, recipe.augment, budget),
        ("nano prompt, one pair a row", recipe.prompt, 1, None, budget),
        ("all fields, one pair a row", PromptSpec(), 1, None, DistributionalConfig.batch_tokens),
    )
    rows = []
    for name, spec, row_tokens, augment, batch_tokens in layouts:
        prompt = Prompt(spec, tokenizer)
        lengths = list(rows_dataset(prompt, train, targets, row_tokens=row_tokens, augment=augment)["length"])
        sampler = TokenBudgetSampler(lengths, batch_tokens)
        rows.append(
            {
                "layout": name,
                "batch_tokens": batch_tokens,
                "rows": len(lengths),
                "tokens": [int(value) for value in np.percentile(lengths, [0, 50, 100])],
                "padding": sampler.padding,
                "padding_random": random_order_padding(lengths, len(sampler)),
            }
        )
    return rows


def random_order_padding(lengths: list[int], batches: int) -> float:
    """Return the share of padding of as many batches, with as many rows each, in random order."""
    order = np.random.default_rng(0).permutation(lengths)
    read = sum(int(batch.max()) * len(batch) for batch in np.array_split(order, batches))
    return 1.0 - sum(lengths) / read


def padding_table(rows: list[dict[str, Any]]) -> Table:
    """Return one row a layout."""
    table = Table(
        title="Padding of batches by length, on the sample's training pairs",
        caption=f"Target: under {TARGET_PADDING:.0%}. Rounding rows up to a multiple of {PAD_TO} tokens is counted, "
        "and weighs on short ones; training packs them. In random order: as many batches and rows, not rounded.",
    )
    table.add_column("Layout", no_wrap=True)
    for name in ("Rows", "Shortest", "Median", "Longest", "Tokens a batch", "Padding", "In random order", "Target"):
        table.add_column(name, justify="right")
    for row in rows:
        counts = (f"{row['rows']:,}", *map(str, row["tokens"]), f"{row['batch_tokens']:,}")
        met = "met" if row["padding"] < TARGET_PADDING else "missed"
        table.add_row(row["layout"], *counts, f"{row['padding']:.1%}", f"{row['padding_random']:.1%}", met)
    return table


def main(
    shape: Annotated[str, typer.Option(help="0.6b or nano")] = "0.6b",
    steps: Annotated[int, typer.Option(help="of each way; the first is not timed", min=2)] = 4,
    pairs: Annotated[int, typer.Option(help="of a step; prefixes are shared only by an even number", min=1)] = 8,
    tokens: Annotated[int, typer.Option(help=f"of a pair, a multiple of {PAD_TO}", min=TAIL + PAD_TO)] = 256,
    method: Annotated[str, typer.Option(help="lora, full or both, with a comma between")] = "lora,full",
    fake_quantization: Annotated[str | None, typer.Option(help="scheme of the rounded way: mxfp4, int8 ...")] = None,
    out: Annotated[Path | None, typer.Option(help="where to write the results as JSON")] = None,
) -> None:
    """Measure each way in its own process and print tables and ratios."""
    methods = method.split(",")
    if shape not in get_args(Shape) or not set(methods) <= set(get_args(Method)) or tokens % PAD_TO:
        raise typer.BadParameter(
            f"shape is 0.6b or nano, method is lora, full or lora,full, and tokens a multiple of {PAD_TO}"
        )
    if fake_quantization not in (None, *get_args(FakeQuantization)):
        raise typer.BadParameter(f"fake quantization knows {', '.join(get_args(FakeQuantization))}")
    console = Console(width=max(140, Console().width))
    measured: dict[Run, Measured] = {}
    rounding = cast(FakeQuantization | None, fake_quantization)
    given = Run(cast(Shape, shape), "lora", OURS, steps, pairs, tokens, rounding)
    for each in methods:
        rounded = [ROUNDED] if rounding and each == "full" else []
        for way in (OURS, SHARED, *rounded, PLAIN, FULL_LOGITS):
            run = replace(given, method=cast(Method, each), way=way)
            try:
                measured[run] = found = in_own_process(run)
            except BrokenProcessPool:
                console.print(f"{each}, {way}: the process was killed, most likely for memory; use fewer --pairs")
                raise typer.Exit(1) from None
            console.print(f"{each}, {way}: {pairs / found.seconds:.2f} pairs/s, peak {found.peak / GIB:.2f} GiB")
    compared = [row for each in methods for row in comparisons(measured, cast(Method, each))]
    padded = paddings()
    for table in (measured_table(measured), comparisons_table(compared), padding_table(padded)):
        console.print(table)
    if out:
        results = {
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "measured": [{**asdict(run), **asdict(found)} for run, found in measured.items()],
            "comparisons": compared,
            "padding": padded,
        }
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
