"""All ways compute the same scores: a comparison of programs that do not would say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gen_rerank import Distribution, Pair, Product
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.engine_plan import prepare_environment
from gen_rerank.scorers.transformers import TransformersScorer
from harness.traffic import RequestMaker, Settings
from serving_parts import peers

SETTINGS = Settings("nano")
SMALL = Settings("nano", candidates=5, product_tokens=20, query_tokens=4)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(scope="module")
def pairs(checkpoint) -> list[Pair]:
    """Of different lengths, so that batches are padded."""
    maker = RequestMaker(checkpoint.tokenizer, SMALL, seed=0)
    return [Pair(maker.text(1 + k), Product(product_id=str(k), title=maker.text(3 + 5 * (k % 4)))) for k in range(9)]


@pytest.fixture(scope="module")
def expected(checkpoint, pairs) -> Distribution:
    scored = TransformersScorer(checkpoint, dtype=torch.float32).score(pairs)
    assert np.ptp(scored.mean) > 1e-3  # else anything would agree
    return scored


@pytest.mark.parametrize("batch_size", [1, 4])
def test_transformers_gives_our_scores(checkpoint, pairs, expected, batch_size):
    found = peers.TransformersPeer(checkpoint, batch_size, torch.float32).score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-5


def test_the_cross_encoder_gives_our_scores(checkpoint, pairs, expected, tmp_path):
    peers.export_classifier(checkpoint, tmp_path)
    found = peers.CrossEncoderPeer(checkpoint, tmp_path, 4, torch.float32).score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-5


def test_the_cross_encoder_reads_our_tokens(nano, tmp_path):
    peers.export_classifier(nano, tmp_path)
    pairs = RequestMaker(nano.tokenizer, SETTINGS, seed=0).fresh(2)
    model = peers.CrossEncoderPeer(nano, tmp_path, 4).model
    read = model.tokenizer([pair.query for pair in pairs], [pair.product.title for pair in pairs])["input_ids"]
    assert read == nano.prompt.encode(pairs)


@pytest.mark.slow
def test_generation_gives_our_scores(checkpoint, pairs, expected):
    pytest.importorskip("vllm")
    prepare_environment()
    with peers.GeneratePeer(checkpoint, enforce_eager=True, dtype="float32") as peer:
        found = peer.score(pairs)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4
