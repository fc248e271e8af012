"""The table of defaults: each row is an argument of its trainer, and a LoRA's rate follows the base's width."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from gen_rerank.system.machine import Machine
from train import defaults
from train.adapter import AdapterConfig
from train.distil import DistilConfig
from train.encoder_trainer import EncoderConfig
from train.scalar_trainer import ScalarConfig
from train.trainers import DistributionalConfig

KINDS: list[tuple[Any, dict[str, Any]]] = [
    (DistributionalConfig, defaults.DISTRIBUTIONAL),
    (DistributionalConfig, defaults.DISTRIBUTIONAL_LORA),
    (ScalarConfig, defaults.SCALAR),
    (AdapterConfig, defaults.adapter_defaults(1024)),
    (EncoderConfig, defaults.ENCODER),
    (DistilConfig, defaults.DISTIL),
]


@pytest.mark.parametrize(("kind", "given"), KINDS)
def test_every_default_is_an_argument(kind: Any, given: dict[str, Any]) -> None:
    assert set(given) <= {entry.name for entry in fields(kind)}
    assert given.items() >= {"report_to": "none", "logging_steps": 0.02}.items()


def test_a_narrower_base_learns_at_a_higher_rate() -> None:
    assert defaults.adapter_defaults(64)["learning_rate"] == 0.2 / 64
    assert defaults.DISTRIBUTIONAL["learning_rate"] < defaults.DISTRIBUTIONAL_LORA["learning_rate"]


def test_bfloat16_is_not_emulated_in_training() -> None:
    """On a CPU without the instructions a step took 9 seconds in place of a fraction of one."""
    assert defaults.DISTRIBUTIONAL["bf16"] is Machine.here().computes_bfloat16
    assert defaults.adapter_defaults(64)["bf16"] is Machine.here().computes_bfloat16
    assert defaults.ENCODER["bf16"] is Machine.here().computes_bfloat16
