"""The padding of batches by length, on the sample's training pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from gen_rerank.data.sample import make_sample
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from harness.tables import FigureTable
from train.bases import base_folder
from train.batches import TokenBudgetSampler
from train.inputs import rows_dataset
from train.packing import PAD_TO
from train.recipe import Recipe
from train.targets import gaussian
from train.trainers import DistributionalConfig

TARGET_PADDING = 0.05


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


def padding_table(rows: list[dict[str, Any]]) -> FigureTable:
    """Return one row a layout."""
    cells = [
        [
            row["layout"],
            f"{row['rows']:,}",
            *map(str, row["tokens"]),
            f"{row['batch_tokens']:,}",
            f"{row['padding']:.1%}",
            f"{row['padding_random']:.1%}",
            "met" if row["padding"] < TARGET_PADDING else "missed",
        ]
        for row in rows
    ]
    return FigureTable(
        "Padding of batches by length, on the sample's training pairs",
        ("Layout", "Rows", "Shortest", "Median", "Longest", "Tokens a batch", "Padding", "In random order", "Target"),
        cells,
        f"Target: under {TARGET_PADDING:.0%}. Rounding rows up to a multiple of {PAD_TO} tokens is counted, and weighs "
        "on short ones; training packs them. In random order: as many batches and rows, not rounded.",
    )
