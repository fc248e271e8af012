"""What a base knows of relevance before it is trained: in which layer, and by which prompt.

A ridge regression predicts the relevance of judged pairs from the hidden state at the prompt's last token, layer by
layer. Its explained share of the variance (R²) is cross-validated over queries in five folds: at 0 the layer says no
more of a pair than the mean of all. Training starts from the last layer kept, so that it pays to know where relevance
stands. Only training queries are read.

Run: python benchmarks/layer_probe.py runs/real/mixes/homedepot-train --templates short,product_first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import PreTrainedModel

from gen_rerank.bins import Floats
from gen_rerank.data.dataset import judged_split
from gen_rerank.data.records import Judgment
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from gen_rerank.reporting.progress import WorkProgress
from harness.command import run
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from train.attention import attention_kernel
from train.bases import open_base
from train.batches import TokenBudgetSampler
from train.packing import collate, pack
from train.recipe import Recipe

FOLDS = 5
STRENGTHS = np.logspace(2, 6, 9)
BATCH_TOKENS = 1024


@torch.inference_mode()
def layer_states(model: PreTrainedModel, token_ids: Sequence[list[int]], layers: Sequence[int]) -> dict[int, Floats]:
    """Return what stands at each prompt's last token after some layers, `[prompts, hidden]` float32 a layer.

    Args:
        model: a decoder.
        token_ids: of the prompts.
        layers: how many layers a state has passed; of all of them, the last norm has been applied too.
    """
    rows = pack(token_ids, list(range(len(token_ids))), row_tokens=max(map(len, token_ids)))
    states = {layer: np.zeros((len(rows), model.config.hidden_size), dtype=np.float32) for layer in layers}
    with WorkProgress() as progress:
        task = progress.add_task("reading pairs", total=len(rows))
        for batch in TokenBudgetSampler([row.length for row in rows], BATCH_TOKENS, shuffle=False):
            inputs = collate([rows[i] for i in batch])
            readout = inputs.pop("readout")
            with attention_kernel(inputs["input_ids"]):
                found: Any = model.get_decoder()(**inputs, output_hidden_states=True, use_cache=False)
            members = [rows[i].members[0] for i in batch]
            for layer in layers:
                states[layer][members] = found.hidden_states[layer][readout[:, 0], readout[:, 1]].float().numpy()
            progress.advance(task, len(batch))
    return states


def explained(states: Floats, judgments: Sequence[Judgment]) -> float:
    """Return the share of the relevance's variance that a ridge regression explains on queries it has not seen.

    Args:
        states: `[judgments, hidden]`.
        judgments: of which each has a state.
    """
    relevance = np.array([row.relevance for row in judgments])
    probe = make_pipeline(StandardScaler(), RidgeCV(alphas=STRENGTHS))
    queries = [row.query_id for row in judgments]
    predicted = cross_val_predict(probe, states, relevance, groups=queries, cv=GroupKFold(FOLDS))
    return float(1 - np.mean((relevance - predicted) ** 2) / np.var(relevance))


def probe_table(found: Mapping[str, Mapping[int, float]], tokens: Mapping[str, float]) -> FigureTable:
    """Return one row a template: tokens a pair, and R² after each layer."""
    layers = list(next(iter(found.values())))
    rows = [[name, f"{tokens[name]:.0f}", *(f"{found[name][layer]:.3f}" for layer in layers)] for name in found]
    header = ("Template", "Tokens a pair", *(f"{layer} layers" for layer in layers))
    caption = f"R² of relevance by a ridge regression on the last token's state, {FOLDS} folds of queries."
    return FigureTable("What the base knows of relevance", header, rows, caption)


def main(
    folder: Annotated[Path, typer.Argument(help="a data folder", metavar="DATA")],
    base: Annotated[str, typer.Option(help="a folder, a hub name or a preset's base")] = "smollm2-135m",
    templates: Annotated[str, typer.Option(help="of the prompt, separated by commas")] = "short,product_first",
    pairs: Annotated[int, typer.Option(min=FOLDS, help="drawn from the judged training pairs")] = 1000,
    every: Annotated[int, typer.Option(min=1, help="so many layers apart are read")] = 4,
    seed: Annotated[int, typer.Option(help="of the draw")] = 0,
) -> None:
    """Probe the layers of a base and print the table."""
    about, console = ThisRun.now(("torch", "transformers", "scikit-learn")), wide_console(140)
    data = judged_split(folder, "train")
    drawn = np.random.default_rng(seed).permutation(len(data.judgments))[:pairs]
    judgments = [data.judgments[place] for place in drawn]
    if len({row.query_id for row in judgments}) < FOLDS:
        raise BadInput(f"{folder}: {FOLDS} judged training queries at least are needed, one a fold")
    model, tokenizer = open_base(Recipe(base=base), base, [])
    model.eval()
    depth = model.config.num_hidden_layers
    layers = sorted({*range(every, depth, every), depth})
    found, tokens = {}, {}
    for name in templates.split(","):
        prompt = Prompt(PromptSpec(template=name), tokenizer.backend_tokenizer)
        token_ids = prompt.encode([data.pair(row) for row in judgments])
        tokens[name] = float(np.mean([len(ids) for ids in token_ids]))
        states = layer_states(model, token_ids, layers)
        found[name] = {layer: explained(states[layer], judgments) for layer in layers}
    console.print(about.heading(), soft_wrap=True)
    probe_table(found, tokens).show(console)


if __name__ == "__main__":
    run(main)
