"""Which backend and which number type a checkpoint is opened with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gen_rerank import BadInput
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers import opening
from gen_rerank.scorers.opening import computes_bfloat16, open_scorer, prepare_scorer
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.machine import Gpu, Machine


def machine(instructions: tuple[str, ...] = (), *capabilities: str) -> Machine:
    sets = dict.fromkeys(("AVX2", "AVX512-BF16", "AMX-BF16"), False) | dict.fromkeys(instructions, True)
    return Machine("a processor", 2, sets, 24.0, 64.0, tuple(Gpu("a GPU", each, 16.0) for each in capabilities))


@pytest.mark.parametrize(
    ("has", "there"),
    [
        (machine(("AVX2",)), False),
        (machine(("AVX512-BF16",)), True),
        (machine(("AMX-BF16",)), True),
        (machine((), "7.5"), False),
        (machine(("AMX-BF16",), "7.5"), False),  # the GPU computes
        (machine((), "8.0", "10.0"), True),
        (Machine("without torch", 2, {}, 1.0, 1.0, ()), False),
    ],
)
def test_bfloat16_is_there_where_the_hardware_multiplies_it(has: Machine, there: bool) -> None:
    assert computes_bfloat16(has) is there


@pytest.mark.parametrize(
    ("backend", "native", "expected"),
    [("transformers", True, "bfloat16"), ("transformers", False, "float32"), ("vllm", False, "bfloat16")],
)
def test_auto_is_bfloat16_only_where_it_is_fast(monkeypatch, tiny_checkpoint, backend, native, expected) -> None:
    monkeypatch.setattr(opening, "computes_bfloat16", lambda _: native)
    prepared = prepare_scorer(tiny_checkpoint, backend, dtype="auto")
    assert str(prepared) == f"{backend} in {expected}"


def test_an_encoder_is_float32_everywhere(monkeypatch, tiny_checkpoint) -> None:
    decoder = Checkpoint.open(tiny_checkpoint)
    encoder = replace(decoder, card=Card(readout=Readout.classifier(), prompt=decoder.card.prompt))
    monkeypatch.setattr(opening, "computes_bfloat16", lambda _: True)
    monkeypatch.setattr(Checkpoint, "open", lambda _: encoder)
    assert prepare_scorer(tiny_checkpoint, dtype="auto").dtype == "float32"


def test_python_is_left_the_backend_s_own_type(tiny_checkpoint) -> None:
    prepared = prepare_scorer(tiny_checkpoint)
    assert (prepared.dtype, str(prepared)) == (None, "transformers")
    scorer = prepared.open()
    assert isinstance(scorer, TransformersScorer)
    assert next(scorer.network.backbone.parameters()).dtype == torch.float32


def test_in_bfloat16_scores_differ_by_rounding_and_do_not_tie(tiny_checkpoint, tiny_adapter, tiny_shop) -> None:
    """The readout is float32: its logits are no multiples of bfloat16's steps."""
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:40]]
    for adapter in (None, tiny_adapter):
        exact, coarse = (open_scorer(tiny_checkpoint, adapter=adapter, dtype=each) for each in ("float32", "bfloat16"))
        assert next(coarse.network.backbone.parameters()).dtype == torch.bfloat16
        expected, found = exact.score(pairs).mean, coarse.score(pairs).mean
        assert 0 < np.abs(found - expected).max() < 0.01
        encoded = coarse.checkpoint.prompt.encode(pairs)
        logits = coarse.logits(encoded)
        assert logits.dtype == torch.float32
        assert (logits != logits.bfloat16().float()).float().mean() > 0.9


def test_what_there_is_not(tiny_checkpoint) -> None:
    with pytest.raises(BadInput, match="no backend 'onnx'; choose one of transformers, vllm"):
        prepare_scorer(tiny_checkpoint, "onnx")
    with pytest.raises(BadInput, match="no number type 'int8'; choose one of auto, float32, bfloat16"):
        prepare_scorer(tiny_checkpoint, dtype="int8")
