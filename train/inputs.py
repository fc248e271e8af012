"""Judged pairs as a trainer's examples: packed rows with targets for phase 1, the backbone's features for phase 2.

The same `Prompt` that scoring uses makes the tokens, `packing` the rows, `targets` what each pair should say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from transformers import PreTrainedModel

from gen_rerank.bins import Floats
from gen_rerank.data.dataset import Dataset
from gen_rerank.prompting.prompt import Prompt, PromptSpec, product_fields, template_source
from gen_rerank.reporting.progress import WorkProgress
from train.augment import Augment, augmented
from train.batches import TokenBudgetSampler
from train.measuring import ReadingCost
from train.packing import Row, collate, last_states, pack

_FEATURE_TOKENS = 4096  # of a batch through the frozen backbone
_ROW_TOKENS = 512  # of a row of it


def rows_dataset(
    prompt: Prompt,
    dataset: Dataset,
    targets: Floats,
    *,
    row_tokens: int,
    whole_queries: bool = False,
    augment: Augment | None = None,
    seed: int = 0,
) -> datasets.Dataset:
    """Return packed rows with the targets of their pairs, and the numbers of their queries.

    Args:
        prompt: of the checkpoint that is trained.
        dataset: its judgments, one at least, are the pairs; `members` are places among them.
        targets: `[judgments, 11]`.
        row_tokens: the most tokens of a row.
        whole_queries: no row has pairs of two queries, so that batches can hold whole ones. With the product first each
            pair is then a row of its own.
        augment: how pairs are varied; each varied copy has rows and queries of its own.
        seed: of the first copy's variations.
    """
    labels = np.array([row.relevance for row in dataset.judgments], dtype=np.float32)
    queries = query_numbers(dataset, (augment or Augment()).copies)
    copies = _copies(prompt, dataset, augment, row_tokens, seed, whole_queries=whole_queries)
    numbered = [(row, numbers) for copy, numbers in zip(copies, queries, strict=True) for row in copy]
    rows = [row for row, _ in numbered]
    return datasets.Dataset.from_dict(
        {
            "prefix": [row.prefix for row in rows],
            "tails": [row.tails for row in rows],
            "targets": [targets[row.members] for row in rows],
            "relevance": [labels[row.members] for row in rows],
            "members": [row.members for row in rows],
            "queries": [numbers[row.members] for row, numbers in numbered],
            "length": [row.length for row in rows],
        },
        features=datasets.Features(
            prefix=datasets.List(datasets.Value("int32")),
            tails=datasets.List(datasets.List(datasets.Value("int32"))),
            targets=datasets.List(datasets.List(datasets.Value("float32"))),
            relevance=datasets.List(datasets.Value("float32")),
            members=datasets.List(datasets.Value("int32")),
            queries=datasets.List(datasets.Value("int32")),
            length=datasets.Value("int32"),
        ),
    )


def rows_of(rows: datasets.Dataset, places: Sequence[int]) -> datasets.Dataset:
    """Return packed rows with some of their pairs alone; `members` are then places among those.

    Args:
        rows: of `rows_dataset`.
        places: the members that stay.
    """
    number = {place: i for i, place in enumerate(places)}

    def kept(row: dict[str, Any]) -> dict[str, Any]:
        at = [i for i, member in enumerate(row["members"]) if member in number]
        some = {name: [row[name][i] for i in at] for name in ("tails", "targets", "relevance", "queries", "members")}
        length = len(row["prefix"]) + sum(map(len, some["tails"]))
        return {**row, **some, "members": [number[member] for member in some["members"]], "length": length}

    return datasets.Dataset.from_list([found for row in rows if (found := kept(row))["tails"]], features=rows.features)


def reading_cost(rows: datasets.Dataset) -> ReadingCost:
    """Return what packed rows of one copy of a data set cost, and each of their pairs alone."""
    alone = {
        member: len(row["prefix"]) + len(tail)
        for row in rows
        for member, tail in zip(row["members"], row["tails"], strict=True)
    }
    return ReadingCost(sum(rows["length"]), [alone[member] for member in range(len(alone))])


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


def query_numbers(dataset: Dataset, copies: int = 1) -> npt.NDArray[np.int64]:
    """Return the number of each judgment's query in each varied copy, `[copies, judgments]`.

    It is the query's place in the data set; a varied copy of a query is another query, with a number of its own.
    """
    places = {query_id: place for place, query_id in enumerate(dataset.queries)}
    numbers = np.array([places[row.query_id] for row in dataset.judgments])
    return numbers + len(places) * np.arange(copies)[:, None]


def _copies(
    prompt: Prompt,
    dataset: Dataset,
    augment: Augment | None,
    row_tokens: int,
    seed: int,
    *,
    whole_queries: bool = False,
) -> list[list[Row]]:
    """Return the packed rows of each varied copy of the data; their members are places in `dataset.judgments`."""
    settings = augment or Augment()
    pairs = [dataset.pair(row) for row in dataset.judgments]
    firsts = [row.product_id if prompt.spec.product_first else row.query_id for row in dataset.judgments]
    groups = [
        (first, row.query_id if whole_queries else "") for first, row in zip(firsts, dataset.judgments, strict=True)
    ]
    return [
        pack(prompt.encode(augmented(pairs, settings, seed=seed + copy)), groups, row_tokens)
        for copy in range(settings.copies)
    ]
