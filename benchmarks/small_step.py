"""What makes a training step of the preset `small` fast on a CPU: one change after the other, and what did not help.

A step is forward, backward and AdamW over rows of made-up tokens, with weights of the base's shape drawn at random. The
rows have the lengths of Home Depot's pairs: with the product first each pair is a row of its own, of 56 tokens in a
chat with an instruction and of 28 in the short template; with the query first five products share it, 35 tokens a
pair. The ways take turns, and the first round is not timed, so that a busy minute touches all of them. Where the
machine only emulates products in bfloat16, all ways compute in float32.

Run: python benchmarks/small_step.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
import typer
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM, PretrainedConfig

from gen_rerank.system.machine import Machine
from harness.command import run
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from train.attention import attention_kernel
from train.estimate import base_config, with_layers
from train.packing import Row, collate
from train.recipe import Recipe

BINS = 11
TAIL = 16  # tokens of a pair's own, at least
WIDTHS = {"product_first": 56, "short": 28}  # of a row of one pair


@dataclass(frozen=True)
class StepWay:
    """One way to take a step.

    Attributes:
        name: for the table.
        against: the way from which it differs in one thing.
        bfloat16: products are rounded to it.
        short_rows: attention by `train.attention`; otherwise PyTorch's fused kernel.
        template: of the prompt: how many tokens a row has, and how many pairs.
        kept: the share of the base's layers that the model has.
        compiled: each layer by `torch.compile`.
        frozen: how many of the lower layers are not trained, and with them the embeddings.
        lora: only a LoRA of rank 16 on all matrices is trained.
    """

    name: str
    against: str | None
    bfloat16: bool = True
    short_rows: bool = True
    template: Literal["product_first", "query_first", "short"] = "short"
    kept: float = 1.0
    compiled: bool = False
    frozen: float = 0.0
    lora: bool = False


FIRST = StepWay("float32, one row a pair", None, bfloat16=False, short_rows=False, template="product_first")
BFLOAT16 = replace(FIRST, name="products in bfloat16", against=FIRST.name, bfloat16=True)
ROWS = replace(BFLOAT16, name="attention of short rows", against=BFLOAT16.name, short_rows=True)
SHORT = replace(ROWS, name="the short template", against=ROWS.name, template="short")
LOWEST = replace(SHORT, name="the 16 lowest of 30 layers: the preset", against=SHORT.name, kept=16 / 30)
WAYS = (
    FIRST,
    BFLOAT16,
    ROWS,
    replace(ROWS, name="query first, shared by its products", against=ROWS.name, template="query_first"),
    SHORT,
    LOWEST,
    replace(LOWEST, name="layers compiled", against=LOWEST.name, compiled=True),
    replace(LOWEST, name="lower third of these frozen", against=LOWEST.name, frozen=1 / 3),
    replace(LOWEST, name="lower half of these frozen", against=LOWEST.name, frozen=1 / 2),
    replace(LOWEST, name="LoRA in place of all weights", against=LOWEST.name, lora=True),
)


def ways_of(computes_bfloat16: bool) -> tuple[StepWay, ...]:
    """Return the ways that a machine is timed in: without bfloat16 in hardware, all of them in float32."""
    if computes_bfloat16:
        return WAYS
    others = (replace(way, bfloat16=False) for way in WAYS if way is not BFLOAT16)
    return tuple(replace(way, against=FIRST.name) if way.against == BFLOAT16.name else way for way in others)


class TimedStep:
    """A model and a batch of one way.

    Args:
        way: of them.
        shape: of the base.
        tokens: of the batch, about.
    """

    def __init__(self, way: StepWay, shape: PretrainedConfig, tokens: int) -> None:
        """Draw weights and tokens."""
        torch.manual_seed(0)
        self.way = way
        kept = with_layers(shape, round(shape.num_hidden_layers * way.kept))
        model: Any = AutoModelForCausalLM.from_config(kept, dtype=torch.float32).train()
        self.rows = nn.Linear(shape.hidden_size, BINS)
        layers = model.model.layers
        if way.frozen:
            model.model.embed_tokens.requires_grad_(False)
            layers[: int(len(layers) * way.frozen)].requires_grad_(False)
        if way.compiled:
            for layer in layers:
                layer.compile(dynamic=True)
        self.decoder = model.model
        if way.lora:
            get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))
        trained = [one for one in [*model.parameters(), *self.rows.parameters()] if one.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
        made = _shared_rows(tokens) if way.template == "query_first" else _single_rows(tokens, WIDTHS[way.template])
        self.pairs = sum(len(row.members) for row in made)
        self.batch: dict[str, Tensor] = collate(made)

    def seconds(self) -> float:
        """Take a step and return how long it took."""
        start = time.perf_counter()
        ids = self.batch["input_ids"]
        kernel = attention_kernel(ids) if self.way.short_rows else sdpa_kernel([SDPBackend.FLASH_ATTENTION])
        rounding = torch.autocast("cpu", dtype=torch.bfloat16) if self.way.bfloat16 else nullcontext()
        with rounding, kernel:
            hidden = self.decoder(
                input_ids=ids,
                position_ids=self.batch["position_ids"],
                attention_mask=self.batch["attention_mask"],
                use_cache=False,
            ).last_hidden_state
        row, column = self.batch["readout"].T
        loss = -self.rows(hidden[row, column].float()).log_softmax(dim=-1).mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - start


def _single_rows(tokens: int, width: int) -> list[Row]:
    return [Row(_ids(width - TAIL), [_ids(TAIL)], [i]) for i in range(tokens // width)]


def _shared_rows(tokens: int) -> list[Row]:
    pairs, prefix = 5, 48
    tail = 35 - prefix // pairs + 1
    width = prefix + pairs * tail
    return [Row(_ids(prefix), [_ids(tail) for _ in range(pairs)], list(range(pairs))) for _ in range(tokens // width)]


def _ids(count: int) -> list[int]:
    numbers: list[int] = torch.randint(1000, (count,)).tolist()
    return numbers


def step_table(ways: Sequence[StepWay], seconds: dict[str, list[float]], pairs: dict[str, int]) -> FigureTable:
    """Return one row a way: pairs a second, and the ratio to the way from which it differs in one thing."""
    speeds = {name: pairs[name] / statistics.median(times) for name, times in seconds.items()}
    rows = [
        [
            way.name,
            f"{speeds[way.name]:.1f}",
            "" if way.against is None else f"{speeds[way.name] / speeds[way.against]:.2f}x",
            way.against or "",
        ]
        for way in WAYS
        if way.name in speeds
    ]
    rounds = len(next(iter(seconds.values())))
    return FigureTable(
        "A training step of SmolLM2-135M's shape",
        ("Way", "Pairs/s", "Ratio", "Against"),
        rows,
        f"Median of {rounds} rounds in which the ways take turns; a round before them is not timed.",
    )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="in which each way takes a step")] = 5,
    tokens: Annotated[int, typer.Option(min=256, help="of a step, about")] = 2000,
    layers: Annotated[int | None, typer.Option(min=2, help="of the base, for a quick look")] = None,
) -> None:
    """Time the ways in turns and print the table."""
    about, console = ThisRun.now(("torch", "transformers", "peft")), wide_console(140)
    shape = base_config(Recipe.load("small").model_copy(update={"keep_lowest_layers": None}))
    if layers is not None:
        shape = with_layers(shape, layers)
    ways = ways_of(Machine.here().computes_bfloat16)
    steps = [TimedStep(way, shape, tokens) for way in ways]
    for step in steps:
        step.seconds()
    seconds: dict[str, list[float]] = {step.way.name: [] for step in steps}
    for _ in range(rounds):
        for step in steps:
            seconds[step.way.name].append(step.seconds())
    console.print(about.heading(), soft_wrap=True)
    step_table(ways, seconds, {step.way.name: step.pairs for step in steps}).show(console)


if __name__ == "__main__":
    run(main)
