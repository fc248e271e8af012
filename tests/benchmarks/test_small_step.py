"""The training step of a small decoder: every way takes one, and the table compares it with the right one."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from transformers import LlamaConfig

from small_step import BFLOAT16, FIRST, WAYS, TimedStep, step_table, ways_of

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=32, num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1,
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
    assert any(name.startswith("layers.2.") for name in changed)
    assert len(step.decoder.layers) == (6 if way.kept == 1 else 3)
    assert all("lora_" in name for name in changed) == way.lora
    assert step.pairs == {"product_first": 512 // 56, "short": 512 // 28, "query_first": 5 * (512 // 183)}[way.template]


@pytest.mark.parametrize("computes_bfloat16", [True, False])
def test_each_way_differs_in_one_thing_from_the_one_it_is_compared_with(computes_bfloat16: bool) -> None:
    ways = ways_of(computes_bfloat16)
    named = {way.name: way for way in ways}
    for way in ways[1:]:
        other = named[way.against]
        settings = [field.name for field in fields(way) if field.name not in ("name", "against")]
        assert sum(getattr(way, name) != getattr(other, name) for name in settings) == 1, way.name


def test_nothing_is_timed_in_bfloat16_where_it_is_emulated() -> None:
    assert not any(way.bfloat16 for way in ways_of(False))


def test_the_ratio_is_of_pairs_a_second() -> None:
    seconds = {FIRST.name: [4.0, 2.0, 9.0], BFLOAT16.name: [2.0, 2.0, 2.0]}
    rows = step_table([FIRST, BFLOAT16], seconds, dict.fromkeys(seconds, 40)).rows
    assert rows == [[FIRST.name, "10.0", "", ""], [BFLOAT16.name, "20.0", "2.00x", FIRST.name]]
