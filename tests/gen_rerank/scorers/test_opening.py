"""Which backend and which number type a checkpoint is opened with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gen_rerank import BadInput, Reranker
from gen_rerank.checkpoints.card import Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.opening import open_scorer, prepare_scorer
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.machine import Machine


@pytest.mark.parametrize(
    ("backend", "native", "expected"),
    [("transformers", True, "bfloat16"), ("transformers", False, "float32"), ("vllm", False, "bfloat16")],
)
def test_auto_is_bfloat16_only_where_it_is_fast(monkeypatch, tiny_checkpoint, backend, native, expected) -> None:
    monkeypatch.setattr(Machine, "computes_bfloat16", native)
    prepared = prepare_scorer(tiny_checkpoint, backend, dtype="auto")
    assert str(prepared) == f"{backend} in {expected}"


def test_an_encoder_is_float32_everywhere(monkeypatch, tiny_checkpoint) -> None:
    decoder = Checkpoint.open(tiny_checkpoint)
    encoder = replace(decoder, card=Card(readout=Readout.classifier(), prompt=decoder.card.prompt))
    monkeypatch.setattr(Machine, "computes_bfloat16", True)
    monkeypatch.setattr(Checkpoint, "open", lambda _: encoder)
    assert prepare_scorer(tiny_checkpoint, dtype="auto").dtype == "float32"


@pytest.mark.parametrize("native", [True, False])
def test_python_takes_the_type_that_the_commands_take(monkeypatch, tiny_checkpoint, native) -> None:
    """So a product has one score, in a script and in the shell."""
    monkeypatch.setattr(Machine, "computes_bfloat16", native)
    scorer = Reranker.load(tiny_checkpoint).scorer
    assert isinstance(scorer, TransformersScorer)
    assert next(scorer.network.backbone.parameters()).dtype == (torch.bfloat16 if native else torch.float32)


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
    with pytest.raises(BadInput, match="no backend 'onnx'; choose one of transformers, vllm, openvino"):
        prepare_scorer(tiny_checkpoint, "onnx")
    with pytest.raises(BadInput, match="no number type 'int8'; choose one of auto, float32, bfloat16"):
        prepare_scorer(tiny_checkpoint, dtype="int8")
