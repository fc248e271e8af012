"""A peer: TRL's SFTTrainer as it comes, on prompts that are answered by one of the eleven bin tokens.

What a person does who has graded pairs and TRL: the prompt is the model's own, the completion is the token of the
nearest bin, the loss is that of the completion over the whole vocabulary. Base, data, epochs and rates are the
recipe's. The result is a checkpoint like ours, so that its score is the mean over the bin tokens' probabilities.
"""

from __future__ import annotations

import json
import time
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
from trl import SFTConfig, SFTTrainer

from gen_rerank.bins import BIN_COUNT
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import Prompt
from gen_rerank.system.publishing import folder_appearing, opened_before_named
from train import defaults
from train.bases import open_base
from train.recipe import Recipe
from train.trainers import DistributionalConfig


def train_sft(recipe: Recipe, data: Path, out: Path) -> Checkpoint:
    """Train a recipe's base by SFTTrainer on the training queries of a data folder, and write a checkpoint.

    Of the recipe's section `distributional` it takes what SFTTrainer has too. Its batches have as many pairs as ours
    on average.

    Raises:
        BadInput: a recipe without a base or with a LoRA, bad data, or a taken `out`.
    """
    if recipe.base is None or recipe.lora is not None:
        raise BadInput("the peer trains all weights of a base; choose a recipe with a base and without lora")
    train = Dataset.load(data).of("train")
    if not train.judgments:
        raise BadInput(f"{data}: no query of the split 'train' has a judgment; nothing to train on")
    section = recipe.distributional
    torch.manual_seed(section.get("seed", 0))
    model, tokenizer = open_base(recipe, recipe.base, [])
    prompt = Prompt(recipe.prompt, tokenizer.backend_tokenizer)
    readout = Readout.of(tokenizer.backend_tokenizer)
    rows = completed(prompt, readout, train)
    mean_length = sum(map(len, rows["input_ids"])) / len(rows)
    batch_tokens = section.get("batch_tokens", DistributionalConfig.batch_tokens)
    with folder_appearing(out) as folder, TemporaryDirectory() as states:
        arguments = {
            **defaults.DISTRIBUTIONAL,
            **{entry.name: section[entry.name] for entry in fields(SFTConfig) if entry.name in section},
            "per_device_train_batch_size": max(1, round(batch_tokens / mean_length)),
            "completion_only_loss": True,
            "max_length": None,  # the prompt keeps to its own
            "eval_strategy": "no",
            "save_strategy": "no",
            "output_dir": states,
        }
        trainer = SFTTrainer(model, SFTConfig(**arguments), train_dataset=rows, processing_class=tokenizer)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        trainer.model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        Card(readout=readout, prompt=prompt.spec).save(folder)
        told = {"pairs_per_second": len(rows) * trainer.state.epoch / seconds, "seconds": seconds}
        (folder / "sft.json").write_text(json.dumps(told) + "\n", encoding="utf-8")
        opened_before_named(Checkpoint.open, folder, out)
    return Checkpoint.open(out)


def completed(prompt: Prompt, readout: Readout, dataset: Dataset) -> datasets.Dataset:
    """Return each judged pair as tokens, of which the last is the completion: the nearest bin's."""
    prompts = prompt.encode([dataset.pair(row) for row in dataset.judgments])
    answers = [readout.token_ids[round(row.relevance * (BIN_COUNT - 1))] for row in dataset.judgments]
    columns: dict[str, Any] = {
        "input_ids": [[*ids, answer] for ids, answer in zip(prompts, answers, strict=True)],
        "completion_mask": [[0] * len(ids) + [1] for ids in prompts],
    }
    return datasets.Dataset.from_dict(columns)
