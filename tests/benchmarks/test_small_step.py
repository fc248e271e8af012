"""The training step of a small decoder: every way takes one, and the table compares it with the right one."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from transformers import LlamaConfig

from small_step import FIRST, SHARED, WAYS, TimedStep, step_table

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    intermediate_size=48, tie_word_embeddings=True,
)  # fmt: skip


@pytest.mark.parametrize("way", [way for way in WAYS if not way.compiled], ids=lambda way: way.name)
def test_each_way_takes_a_step_that_changes_what_it_trains(way) -> None:
    step = TimedStep(way, CONFIG, tokens=512)
    before = {name: value.detach().clone() for name, value in step.decoder.named_parameters()}
    assert step.seconds() > 0
    changed = {name for name, value in step.decoder.named_parameters() if not torch.equal(value, before[name])}
    first = any(name.startswith("layers.0.") for name in changed)
    assert first == (way.frozen == 0)
    assert any(name.startswith("layers.1.") for name in changed)
    assert all("lora_" in name for name in changed) == way.lora
    assert step.pairs == (512 // 56 if not way.query_first else 5 * (512 // 183))


def test_each_way_differs_in_one_thing_from_the_one_it_is_compared_with() -> None:
    named = {way.name: way for way in WAYS}
    for way in WAYS[1:]:
        other = named[way.against]
        settings = [field.name for field in fields(way) if field.name not in ("name", "against")]
        assert sum(getattr(way, name) != getattr(other, name) for name in settings) == 1, way.name


def test_the_ratio_is_of_pairs_a_second() -> None:
    seconds = {FIRST.name: [4.0, 2.0, 9.0], "products in bfloat16": [2.0, 2.0, 2.0]}
    rows = step_table(seconds, dict.fromkeys(seconds, 40)).rows
    assert rows == [[FIRST.name, "10.0", "", ""], ["products in bfloat16", "20.0", "2.00x", FIRST.name]]
    assert SHARED.against not in seconds
