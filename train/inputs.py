"""Judged pairs as a trainer's examples: packed rows with targets for phase 1, the backbone's features for phase 2.

The same `Prompt` that scoring uses makes the tokens, `packing` the rows, `targets` what each pair should say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel

from gen_rerank.bins import Floats
from gen_rerank.data.dataset import Dataset
from gen_rerank.prompting.prompt import Prompt, PromptSpec, product_fields, template_source
from gen_rerank.reporting.progress import WorkProgress
from train.augment import Augment, augmented
from train.batches import TokenBudgetSampler
from train.packing import Row, collate, last_states, pack

_FEATURE_TOKENS = 4096  # of a batch through the frozen backbone
_ROW_TOKENS = 512  # of a row of it


def rows_dataset(
    prompt: Prompt,
    dataset: Dataset,
    targets: Floats,
    *,
    row_tokens: int,
    augment: Augment | None = None,
    seed: int = 0,
) -> datasets.Dataset:
    """Return packed rows with the targets of their pairs.

    Args:
        prompt: of the checkpoint that is trained.
        dataset: its judgments, one at least, are the pairs; `members` are places among them.
        targets: `[judgments, 11]`.
        row_tokens: the most tokens of a row.
        augment: how pairs are varied; each varied copy has rows of its own.
        seed: of the first copy's variations.
    """
    labels = np.array([row.relevance for row in dataset.judgments], dtype=np.float32)
    rows = [row for copy in _copies(prompt, dataset, augment, row_tokens, seed) for row in copy]
    return datasets.Dataset.from_dict(
        {
            "prefix": [row.prefix for row in rows],
            "tails": [row.tails for row in rows],
            "targets": [targets[row.members] for row in rows],
            "relevance": [labels[row.members] for row in rows],
            "members": [row.members for row in rows],
            "length": [row.length for row in rows],
        },
        features=datasets.Features(
            prefix=datasets.List(datasets.Value("int32")),
            tails=datasets.List(datasets.List(datasets.Value("int32"))),
            targets=datasets.List(datasets.List(datasets.Value("float32"))),
            relevance=datasets.List(datasets.Value("float32")),
            members=datasets.List(datasets.Value("int32")),
            length=datasets.Value("int32"),
        ),
    )


def features_dataset(
    model: PreTrainedModel,
    prompt: Prompt,
    dataset: Dataset,
    *,
    cache: Path,
    console: Console | None = None,
) -> datasets.Dataset:
    """Return each pair's last hidden state `[hidden]` and its relevance; the backbone reads each pair once.

    Pairs are read as they are. Augmentation is for a backbone, which learns to match by it: rows that were fitted to
    varied pairs were worse on pairs as they are.

    Args:
        model: frozen.
        prompt: the model's.
        dataset: its judgments, one at least, are the pairs, in their order; `members` are places among them.
        cache: a folder that keeps the features, so that a resumed run need not compute them again.
        console: where progress is shown; the standard error by default.
    """
    if cache.is_dir():
        return datasets.load_from_disk(str(cache)).with_format("numpy")
    (rows,) = _copies(prompt, dataset, None, _ROW_TOKENS, seed=0)
    count = len(dataset.judgments)
    found = datasets.Dataset.from_dict(
        {
            "features": pair_features(model, rows, count, console=console),
            "relevance": np.array([row.relevance for row in dataset.judgments], np.float32),
            "members": np.arange(count),
        }
    )
    partial = cache.with_name(cache.name + ".partial")
    found.save_to_disk(str(partial))
    partial.replace(cache)
    return found.with_format("numpy")


@torch.inference_mode()
def pair_features(model: PreTrainedModel, rows: Sequence[Row], pairs: int, *, console: Console | None = None) -> Floats:
    """Return the last hidden state of each pair, `[pairs, hidden]` float32.

    Args:
        model: the frozen decoder that reads them.
        rows: they say by `members` which pair is where.
        pairs: how many there are.
        console: where progress is shown; the standard error by default.
    """
    features = np.zeros((pairs, model.config.hidden_size), dtype=np.float32)
    model.get_decoder().eval()
    with WorkProgress(console=console) as progress:
        task = progress.add_task("reading pairs", total=pairs)
        for batch in TokenBudgetSampler([row.length for row in rows], _FEATURE_TOKENS, shuffle=False):
            inputs = {name: value.to(model.device) for name, value in collate([rows[i] for i in batch]).items()}
            members = [member for i in batch for member in rows[i].members]
            features[members] = last_states(model, **inputs).cpu().numpy()
            progress.advance(task, len(members))
    return features


def training_texts(prompt: PromptSpec, train: Dataset) -> list[str]:
    """Return the judged training pairs' texts and the template's own words: what a new tokenizer learns from.

    Prices are left out: their digits are not what the few tokens of a small vocabulary are for.
    """
    fixed = re.sub(r"\{[{%].*?[%}]\}|<\|.*?\|>", " ", template_source(prompt.template))
    texts = [query.text for query in train.queries.values()]
    for product_id in dict.fromkeys(row.product_id for row in train.judgments):
        fields = product_fields(train.products[product_id])
        parts = (fixed, prompt.instruction, *(text for name, text in fields.items() if name != "price"))
        texts.append(" ".join(part for part in parts if part))
    return texts


def _copies(prompt: Prompt, dataset: Dataset, augment: Augment | None, row_tokens: int, seed: int) -> list[list[Row]]:
    """Return the packed rows of each varied copy of the data; their members are places in `dataset.judgments`."""
    settings = augment or Augment()
    pairs = [dataset.pair(row) for row in dataset.judgments]
    groups = [row.product_id if prompt.spec.product_first else row.query_id for row in dataset.judgments]
    return [
        pack(prompt.encode(augmented(pairs, settings, seed=seed + copy)), groups, row_tokens)
        for copy in range(settings.copies)
    ]
