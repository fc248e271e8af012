"""What packed rows and a keeping allocator are worth in phase 1: pairs a second, as ratios from one run.

Run: python benchmarks/bench_training.py
"""

from __future__ import annotations

import time
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import PreTrainedModel

from gen_rerank.bins import Floats
from gen_rerank.checkpoints.card import Readout
from gen_rerank.data.sample import make_sample
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.system.memory import keep_freed_memory
from train.bases import open_base
from train.inputs import training_texts
from train.nano import new_base
from train.packing import Row, collate, pack
from train.pair_trainer import distribution_loss
from train.recipe import Recipe
from train.targets import gaussian

PAIRS_A_STEP = 120
STEPS = 8


def step_seconds(model: PreTrainedModel, ids: list[int], batches: list[list[Row]], wanted: Floats) -> float:
    """Return the median seconds of a forward and backward pass, the first one left out."""
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        inputs = collate(batch)
        readout = inputs.pop("readout")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.get_decoder()(**inputs, use_cache=False).last_hidden_state
        logits = hidden[readout[:, 0], readout[:, 1]].float() @ model.get_output_embeddings().weight[ids].T
        members = [member for row in batch for member in row.members]
        distribution_loss(logits, torch.tensor(wanted[members]), torch.zeros(len(members))).backward()
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def batches_of(rows: list[Row]) -> list[list[Row]]:
    """Return batches with about the same number of pairs."""
    batches: list[list[Row]] = [[]]
    for row in sorted(rows, key=lambda row: -row.length):
        if sum(len(r.members) for r in batches[-1]) + len(row.members) > PAIRS_A_STEP:
            batches.append([])
        batches[-1].append(row)
    order = np.random.default_rng(0).permutation(len(batches) - 1)
    return [batches[i] for i in order[:STEPS]]


def main() -> None:
    """Measure and print."""
    recipe = Recipe.load("nano")
    train = make_sample(0).of("train")
    with TemporaryDirectory() as folder:
        new_base(training_texts(recipe.prompt, train), recipe.shape, folder)
        model, tokenizer = open_base(Recipe(), folder, [])
    prompt = Prompt(recipe.prompt, tokenizer.backend_tokenizer)
    ids = list(Readout.of(tokenizer.backend_tokenizer).token_ids)
    encoded = prompt.encode([train.pair(row) for row in train.judgments])
    wanted = gaussian([row.relevance for row in train.judgments])
    products = [row.product_id for row in train.judgments]
    layouts = {
        "one pair a row": pack(encoded, [str(i) for i in range(len(encoded))], row_tokens=1),
        "packed rows": pack(encoded, products, row_tokens=256),
    }
    results = {}
    for keeping in (False, True):
        if keeping:
            keep_freed_memory()
        for name, rows in layouts.items():
            batches = batches_of(rows)
            pairs = np.mean([sum(len(row.members) for row in batch) for batch in batches])
            results[name, keeping] = pairs / step_seconds(model, ids, batches, wanted)
            tokens = sum(row.length for row in rows) / len(encoded)
            kept = "kept" if keeping else "given back"
            print(f"{name:15} memory {kept:10} {tokens:5.1f} tokens a pair {results[name, keeping]:7.0f} pairs/s")
    print(f"packed rows: {results['packed rows', True] / results['one pair a row', True]:.2f}x the pairs a second")
    print(f"keeping memory: {results['packed rows', True] / results['packed rows', False]:.2f}x on packed rows")


if __name__ == "__main__":
    main()
