"""Models to measure with: a decoder of the 0.6B shape with random weights, or the packaged nano base.

What they say does not matter; a test holds all ways to ask them to the same scores.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gen_rerank.checkpoints.card import CARD, Card, Readout
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import PromptSpec
from harness.traffic import Settings

NANO = Path(str(files("train"))) / "bases" / "nano"


def make_model(settings: Settings, folder: Path, template: str = "product_first") -> Path:
    """Write the decoder of a shape with the card of this benchmark, unless it is there, and return its folder."""
    made = folder / f"{settings.shape}-{template}"
    if (made / CARD).is_file():
        return made
    made.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(NANO / name, made / name)
    if settings.shape == "0.6b":
        _random_weights(made, read_tokenizer(NANO))
    card_for(settings, read_tokenizer(made), template).save(made)  # the last: it says that all is there
    return made


def card_for(settings: Settings, tokenizer: Tokenizer, template: str) -> Card:
    """Return a card whose budgets hold this workload's texts whole."""
    budgets: dict[Any, int] = {"title": settings.product_tokens, "query": settings.query_tokens}
    return Card(readout=Readout.of(tokenizer), prompt=PromptSpec(template=template, max_length=512, budgets=budgets))


def _random_weights(folder: Path, tokenizer: Tokenizer) -> None:
    """Write a Qwen3 of the 0.6B shape; nano's tokenizer uses a part of its vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    from train.estimate import PUBLISHED

    torch.manual_seed(0)
    special = {
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }
    config = Qwen3Config(**PUBLISHED["Qwen/Qwen3-0.6B"], bos_token_id=None, **special)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
