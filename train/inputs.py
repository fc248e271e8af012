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
from transformers import PreTrainedModel

from gen_rerank.bins import Floats
from gen_rerank.data.records import Dataset
from gen_rerank.prompting.prompt import Prompt, PromptSpec, template_source
from train.augment import Augment, augmented
from train.batches import TokenBudgetSampler
from train.packing import Row, collate, pack

_FEATURE_TOKENS = 4096  # of a batch through the frozen backbone
_FEATURE_ROWS = 512


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
    augment: Augment | None = None,
    *,
    seed: int = 0,
    cache: Path | None = None,
) -> datasets.Dataset:
    """Return each pair's last hidden state `[hidden]` and its relevance; the backbone reads each pair once.

    Args:
        model: frozen.
        prompt: the model's.
        dataset: its judgments, one at least, are the pairs; `members` are places among them.
        augment: how pairs are varied; each copy has features of its own.
        seed: of the first copy's variations.
        cache: a folder that keeps the features, so that a resumed run need not compute them again.
    """
    if cache is not None and cache.is_dir():
        return datasets.load_from_disk(str(cache)).with_format("numpy")
    copies = _copies(prompt, dataset, augment, _FEATURE_ROWS, seed)
    found = datasets.Dataset.from_dict(
        {
            "features": np.concatenate([last_states(model, rows, len(dataset.judgments)) for rows in copies]),
            "relevance": np.tile(np.array([row.relevance for row in dataset.judgments], np.float32), len(copies)),
            "members": np.tile(np.arange(len(dataset.judgments)), len(copies)),
        }
    )
    if cache is not None:
        partial = cache.with_name(cache.name + ".partial")
        found.save_to_disk(str(partial))
        partial.replace(cache)
    return found.with_format("numpy")


@torch.inference_mode()
def last_states(model: PreTrainedModel, rows: Sequence[Row], pairs: int) -> Floats:
    """Return the last hidden state of each pair, `[pairs, hidden]` float32; `rows` say by `members` which pair is where."""
    features = np.zeros((pairs, model.config.hidden_size), dtype=np.float32)
    backbone = model.get_decoder().eval()
    device = model.device
    for batch in TokenBudgetSampler([row.length for row in rows], _FEATURE_TOKENS, shuffle=False):
        inputs = {name: value.to(device) for name, value in collate([rows[i] for i in batch]).items()}
        readout = inputs.pop("readout")
        hidden = backbone(**inputs, use_cache=False).last_hidden_state
        last = hidden[readout[:, 0], readout[:, 1]].float().cpu().numpy()
        features[[member for i in batch for member in rows[i].members]] = last
    return features


def training_texts(prompt: PromptSpec, train: Dataset) -> list[str]:
    """Return the judged training pairs' texts and the template's own words: what a new tokenizer learns from."""
    fixed = re.sub(r"\{[{%].*?[%}]\}|<\|.*?\|>", " ", template_source(prompt.template))
    texts = [query.text for query in train.queries.values()]
    for product_id in dict.fromkeys(row.product_id for row in train.judgments):
        product = train.products[product_id]
        details = "; ".join(f"{name}: {value}" for name, value in product.attributes.items())
        parts = (
            fixed,
            prompt.instruction,
            product.title,
            product.brand,
            product.category,
            details,
            product.description,
        )
        texts.append(" ".join(part for part in parts if part))
    return texts


def _copies(prompt: Prompt, dataset: Dataset, augment: Augment | None, row_tokens: int, seed: int) -> list[list[Row]]:
    """Return the packed rows of each varied copy of the data; their members are places in `dataset.judgments`."""
    settings = augment or Augment()
    pairs = [dataset.pair(row) for row in dataset.judgments]
    product_first = prompt.spec.template == "product_first"
    groups = [row.product_id if product_first else row.query_id for row in dataset.judgments]
    return [
        pack(prompt.encode(augmented(pairs, settings, seed=seed + copy)), groups, row_tokens)
        for copy in range(settings.copies)
    ]
