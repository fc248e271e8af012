"""The reference backend: one by one and batched are the same, and both are what the plain model says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from gen_rerank import Pair, Product
from gen_rerank.checkpoints.card import Calibration, Card, Readout
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.opening import open_scorer
from gen_rerank.scorers.transformers import TransformersScorer, length_batches


@pytest.fixture(scope="module")
def scorer(tiny_checkpoint) -> TransformersScorer:
    return TransformersScorer(Checkpoint.open(tiny_checkpoint), dtype=torch.float32)


@pytest.fixture(scope="module")
def pairs(tiny_shop) -> list[Pair]:
    """Of very different lengths."""
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:6]]
    return [
        *pairs,
        Pair("x", Product(product_id="s", title="y")),
        Pair("desk " * 30, Product(product_id="l", title="sofa " * 40)),
    ]


def full_logits(folder, encoded: list[list[int]], token_ids: tuple[int, ...]) -> np.ndarray:
    """The whole vocabulary's logits at the last position, one prompt at a time, without our code."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return np.stack(
            [model(input_ids=torch.tensor([ids])).logits[0, -1, list(token_ids)].numpy() for ids in encoded]
        )


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def test_it_is_the_softmax_of_the_models_own_logits(scorer, pairs, tiny_checkpoint):
    card = scorer.checkpoint.card
    logits = full_logits(tiny_checkpoint, scorer.checkpoint.prompt.encode(pairs), card.readout.token_ids)
    assert np.abs(scorer.score(pairs).probabilities - softmax(logits)).max() < 1e-5


def test_a_library_draws_no_bar_of_its_own_among_what_a_command_prints(tiny_checkpoint, monkeypatch, capfd):
    monkeypatch.setattr(transformers_logging, "_tqdm_active", True)
    TransformersScorer(Checkpoint.open(tiny_checkpoint))
    assert capfd.readouterr().err == ""
    assert transformers_logging.is_progress_bar_enabled()


def test_batched_is_one_by_one(scorer, pairs):
    batched = scorer.score(pairs).probabilities
    single = np.concatenate([scorer.score([pair]).probabilities for pair in pairs])
    assert np.abs(batched - single).max() < 1e-5


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_padding_changes_nothing(scorer, pairs, tiny_checkpoint, batch_tokens):
    other = TransformersScorer(Checkpoint.open(tiny_checkpoint), dtype=torch.float32, batch_tokens=batch_tokens)
    assert np.abs(other.score(pairs).probabilities - scorer.score(pairs).probabilities).max() < 1e-5


def test_a_long_neighbour_changes_nothing(scorer, pairs):
    alone = scorer.score(pairs[-2:-1]).probabilities
    beside = scorer.score(pairs[-2:]).probabilities[:1]
    assert np.abs(alone - beside).max() < 1e-5


def test_the_order_is_that_of_the_pairs(scorer, pairs):
    forward, backward = scorer.score(pairs).probabilities, scorer.score(pairs[::-1]).probabilities
    assert np.abs(forward - backward[::-1]).max() < 1e-5


def test_no_pairs(scorer):
    assert len(scorer.score([])) == 0


def test_the_instruction_matters(scorer, pairs):
    other = scorer.score(pairs, instruction="steel kettle")
    assert np.abs(other.probabilities - scorer.score(pairs).probabilities).max() > 1e-6


def test_the_temperature_is_applied(scorer, pairs, tiny_checkpoint):
    checkpoint = Checkpoint.open(tiny_checkpoint)
    card = checkpoint.card.model_copy(update={"calibration": Calibration(temperature=3.0)})
    hot = TransformersScorer(
        Checkpoint(checkpoint.folder, card, checkpoint.tokenizer, checkpoint.prompt, checkpoint.config)
    )
    logits = full_logits(tiny_checkpoint, checkpoint.prompt.encode(pairs), card.readout.token_ids)
    assert np.abs(hot.score(pairs).probabilities - softmax(logits / 3.0)).max() < 1e-5
    assert (hot.score(pairs).entropy >= scorer.score(pairs).entropy - 1e-6).all()


def test_a_yes_no_checkpoint_gives_two_points(scorer, pairs, tiny_checkpoint):
    checkpoint = scorer.checkpoint
    token_ids = (checkpoint.tokenizer.token_to_id("<|rel_7|>"), checkpoint.tokenizer.token_to_id("<|rel_3|>"))
    readout = Readout(kind="yes_no", tokens=("<|rel_7|>", "<|rel_3|>"), token_ids=token_ids, values=(1.0, 0.0))
    card = Card(readout=readout, prompt=checkpoint.card.prompt)
    two = TransformersScorer(
        Checkpoint(checkpoint.folder, card, checkpoint.tokenizer, checkpoint.prompt, checkpoint.config)
    )
    expected = softmax(full_logits(tiny_checkpoint, checkpoint.prompt.encode(pairs), token_ids))[:, 0]
    found = two.score(pairs)
    assert np.abs(found.mean - expected).max() < 1e-5
    assert (found.probabilities[:, 1:10] == 0).all()


def test_open_scorer(tiny_checkpoint, pairs):
    assert len(open_scorer(str(tiny_checkpoint)).score(pairs[:3])) == 3


def test_length_batches_by_hand():
    assert list(length_batches([5, 5, 1, 9], 10)) == [[3], [0, 1], [2]]
    assert list(length_batches([50], 10)) == [[0]]
    assert list(length_batches([], 10)) == []


def test_length_batches_hold_everything_once():
    lengths = np.random.default_rng(0).integers(1, 100, 300).tolist()
    batches = list(length_batches(lengths, 256))
    assert sorted(i for batch in batches for i in batch) == list(range(300))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 256 for batch in batches)
