"""What eleven rows in place of the vocabulary's logits are worth in a training step: pairs/s and peak memory.

Trains a Qwen3 of the 0.6B shape (random weights, random tokens) for a few steps, with a LoRA and with all weights, in
four ways (`step_parts/ways.py`), each in a process of its own so that its peak memory is its own:

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
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import torch
import transformers
import trl
import typer
from rich.console import Console

from gen_rerank.errors import BadInput
from harness.command import run
from harness.own_process import NoResultError, in_own_process
from harness.tables import FigureTable, wide_console
from harness.traffic import Shape
from step_parts.padding import padding_table, paddings
from step_parts.ways import (
    FULL_LOGITS,
    OURS,
    PLAIN,
    QUERIES,
    ROUNDED,
    SHARED,
    TAIL,
    Method,
    StepFigures,
    StepRun,
    measure,
)
from train.estimate import GIB
from train.fake_quantization import FakeQuantization
from train.packing import PAD_TO

TARGET_SPEED, TARGET_MEMORY = 1.3, 0.6


def comparisons(measured: dict[StepRun, StepFigures], method: Method) -> list[dict[str, Any]]:
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


def measured_table(measured: dict[StepRun, StepFigures]) -> FigureTable:
    """Return one row a run."""
    one = next(iter(measured))
    gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} CPU threads"
    memory = "allocated on the GPU" if gpu else "resident, of the whole process"
    rows = [
        [
            f"{run.method}, {run.way}",
            f"{run.pairs / found.seconds:.2f}",
            f"{found.seconds:.2f}",
            f"{found.peak / GIB:.2f}",
            f"{found.above_start / GIB:.2f}",
        ]
        for run, found in measured.items()
    ]
    return FigureTable(
        f"A training step of the {one.shape} shape: {one.pairs} pairs of {one.tokens} tokens, {where}",
        ("Method and way", "Pairs/s", "Step, s", "Peak, GiB", "Above start, GiB"),
        rows,
        f"Random weights; median of {one.steps - 1} steps, the first left out. Peak: {memory}; above start: without "
        f"what there was before the first step. SFTTrainer is TRL {trl.__version__}'s as it comes: it never holds all "
        "logits, but takes the vocabulary in tiles, on a CPU at every position, on a GPU at those with a label. Shared "
        f"prefixes: {math.gcd(QUERIES, one.pairs)} queries a product of {one.tokens - TAIL} tokens, each with {TAIL} "
        "of its own.",
    )


def comparisons_table(rows: list[dict[str, Any]]) -> FigureTable:
    """Return one row a comparison; the target is for equal tokens against full logits."""

    def met(row: dict[str, Any]) -> str:
        if (row["ours"], row["peer"]) != (OURS, FULL_LOGITS):
            return ""
        speed, memory = row["speed"] >= TARGET_SPEED, row["peak"] <= TARGET_MEMORY
        return f"speed {'met' if speed else 'missed'}, memory {'met' if memory else 'missed'}"

    return FigureTable(
        "Ours against the peer",
        ("Method, ours and peer", "Pairs/s", "Peak", "Above start", "Target"),
        [
            [
                f"{row['method']}, {row['ours']} : {row['peer']}",
                f"{row['speed']:.2f}x",
                f"{row['peak']:.0%}",
                f"{row['above_start']:.0%}",
                met(row),
            ]
            for row in rows
        ],
        f"Target: at least {TARGET_SPEED}x the pairs a second and at most {TARGET_MEMORY:.0%} of the peak, reading the "
        "same tokens, against full logits.",
    )


def measure_all(given: StepRun, methods: list[Method], console: Console) -> dict[StepRun, StepFigures]:
    """Measure each way of each method in a process of its own.

    Raises:
        BadInput: a process was killed.
    """
    measured: dict[StepRun, StepFigures] = {}
    for method in methods:
        rounded = [ROUNDED] if given.rounding and method == "full" else []
        for way in (OURS, SHARED, *rounded, PLAIN, FULL_LOGITS):
            one = replace(given, method=method, way=way)
            try:
                measured[one] = found = in_own_process(measure, one)
            except NoResultError as error:
                raise BadInput(f"{method}, {way}: {error}; use fewer --pairs") from None
            speed, peak = one.pairs / found.seconds, found.peak / GIB
            console.print(f"{method}, {way}: {speed:.2f} pairs/s, peak {peak:.2f} GiB", soft_wrap=True)
    return measured


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
        raise BadInput(f"--shape is 0.6b or nano, --method is lora, full or lora,full, --tokens a multiple of {PAD_TO}")
    if fake_quantization not in (None, *get_args(FakeQuantization)):
        raise BadInput(f"--fake-quantization knows {', '.join(get_args(FakeQuantization))}")
    console = wide_console(140)
    rounding = cast(FakeQuantization | None, fake_quantization)
    given = StepRun(cast(Shape, shape), "lora", OURS, steps, pairs, tokens, rounding)
    chosen = cast(list[Method], methods)
    measured = measure_all(given, chosen, console)
    compared = [row for each in chosen for row in comparisons(measured, each)]
    padded = paddings()
    for table in (measured_table(measured), comparisons_table(compared), padding_table(padded)):
        table.show(console)
    if out:
        results = {
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "measured": [{**asdict(one), **asdict(found)} for one, found in measured.items()],
            "comparisons": compared,
            "padding": padded,
        }
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
