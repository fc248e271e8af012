"""Losses within a query, on three products that can be checked by hand, as properties, and in real runs."""

from __future__ import annotations

from math import exp, log, log1p
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen_rerank import BadInput, Dataset
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from gen_rerank.scorers.transformers import TransformersScorer
from train.augment import Augment
from train.distributional import train_distributional
from train.encoder_trainer import EncoderConfig
from train.inputs import rows_dataset
from train.pair_trainer import TargetArguments, target_loss
from train.recipe import Recipe, trainer_config
from train.relative import TEMPERATURE, Relative, relative_loss
from train.targets import gaussian
from train.trainers import DistributionalConfig

from .tiny import RECIPE

KINDS: tuple[Relative, ...] = get_args(Relative)

BIN = st.integers(0, 10).map(lambda tenth: tenth / 10)
PAIRS = st.lists(st.tuples(st.floats(0, 1, width=32), BIN, st.integers(0, 4)), min_size=2, max_size=30)


def of(kind: Relative, scores: list[float], labels: list[float], queries: list[int] | None = None) -> float:
    numbers = queries or [0] * len(scores)
    return float(relative_loss(kind, torch.tensor(scores), torch.tensor(labels), torch.tensor(numbers)))


def softplus(x: float) -> float:
    return log1p(exp(x))


# By hand


def test_ranknet():
    # Scores one and two units of 0.1 apart; the labels' differences 0.5, 1 and 0.5 are the weights of three pairs.
    found = of("ranknet", [0.6, 0.5, 0.7], [1.0, 0.5, 0.0])
    assert found == pytest.approx((0.5 * softplus(-1) + 1 * softplus(1) + 0.5 * softplus(2)) / 3, abs=1e-5)
    # Products with equal labels are no pair.
    assert of("ranknet", [0.6, 0.5, 0.7], [1.0, 0.0, 0.0]) == pytest.approx((softplus(-1) + softplus(1)) / 2, abs=1e-5)


def test_margin_mse():
    # s - y is -0.4, 0 and 0.7.
    assert of("margin_mse", [0.6, 0.5, 0.7], [1.0, 0.5, 0.0]) == pytest.approx((0.4**2 + 1.1**2 + 0.7**2) / 3, abs=1e-6)


def test_listwise():
    # The labels' softmax is 1/2, 1/4, 1/4, the scores' 1/4, 1/4, 1/2.
    apart = TEMPERATURE * log(2)
    assert of("listwise", [0, 0, apart], [apart, 0, 0]) == pytest.approx(1.75 * log(2), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_counts_by_its_pairs_and_what_cannot_be_ranked_for_nothing(kind):
    three = ([0.6, 0.5, 0.7], [1.0, 0.5, 0.0])
    two = ([0.2, 0.9], [0.0, 1.0])
    both = of(kind, [0.6, 0.2, 0.5, 0.9, 0.7], [1.0, 0.0, 0.5, 1.0, 0.0], [7, 3, 7, 3, 7])
    assert both == pytest.approx((3 * of(kind, *three) + 2 * of(kind, *two)) / 5, abs=1e-5)
    # Beside them a query with one product and one whose labels are equal: their three pairs are in the mean, as zeros.
    more = of(kind, [*three[0], 0.1, 0.3, 0.9], [*three[1], 1.0, 0.5, 0.5], [0, 0, 0, 1, 2, 2])
    assert more == pytest.approx(3 * of(kind, *three) / 6, abs=1e-5)


# Properties


def tensors(pairs: list[tuple[float, float, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores, labels, queries = zip(*pairs, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(labels, dtype=torch.float64), torch.tensor(queries)


@given(PAIRS)
def test_nothing_is_better_than_the_labels_themselves(pairs):
    scores, labels, queries = tensors(pairs)
    assert relative_loss("margin_mse", labels, labels, queries) == 0
    # Nor where every score of a query is off by the same.
    assert relative_loss("margin_mse", labels + queries, labels, queries).item() == pytest.approx(0, abs=1e-12)
    for kind in ("margin_mse", "listwise"):
        best, other = (relative_loss(kind, guess, labels, queries) for guess in (labels, scores))
        assert best <= other + 1e-9


@pytest.mark.parametrize("kind", KINDS)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(kind, pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    assert relative_loss(kind, *tensors(shuffled)).item() == pytest.approx(relative_loss(kind, *tensors(pairs)).item())


@pytest.mark.parametrize("kind", KINDS)
@given(PAIRS, st.integers(0, 4))
def test_a_step_in_two_batches_has_the_gradient_of_one(kind, pairs, cut):
    """Batches of whole queries; each counts by its share of the step's pairs, as the trainers have it."""
    scores, labels, queries = tensors(pairs)
    whole = scores.clone().requires_grad_()
    relative_loss(kind, whole, labels, queries).backward()
    parts = scores.clone().requires_grad_()
    for batch in (queries < cut, queries >= cut):
        if batch.any():
            share = batch.sum() / len(pairs)
            (share * relative_loss(kind, parts[batch], labels[batch], queries[batch])).backward()
    assert whole.grad is not None
    assert parts.grad is not None
    assert torch.allclose(parts.grad, whole.grad, atol=1e-9)


# Rows


@pytest.mark.parametrize(("template", "alone"), [("product_first", True), ("query_first", False)])
def test_rows_of_whole_queries(template, alone, phase1, tiny_shop):
    prompt = Prompt(PromptSpec(template=template, max_length=96, instruction="Rate."), read_tokenizer(phase1.folder))
    train = tiny_shop.of("train")
    targets = gaussian([row.relevance for row in train.judgments])
    rows = rows_dataset(
        prompt, train, targets, row_tokens=512, whole_queries=True, augment=Augment(copies=2, typos=0.5)
    )
    count = len(train.queries)
    places = {query_id: place for place, query_id in enumerate(train.queries)}
    seen = set()
    for row in rows:
        (number,) = set(row["queries"])
        assert {places[train.judgments[member].query_id] for member in row["members"]} == {number % count}
        seen.add(number)
    assert seen == set(range(2 * count))
    assert (len(rows) == 2 * len(train.judgments)) is alone


# For real


@pytest.fixture(scope="module")
def short(phase1: Checkpoint) -> Recipe:
    """Goes on from a model that knows the shop."""
    section = {**RECIPE.distributional, "max_steps": 3, "save_strategy": "no", "eval_strategy": "no"}
    return RECIPE.model_copy(update={"base": str(phase1.folder), "distributional": section})


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("kind", "template"),
    [("ranknet", "product_first"), ("margin_mse", "query_first"), ("listwise", "product_first")],
)
def test_a_run_with_a_relative_loss(kind, template, short: Recipe, tiny_data: Path, tiny_shop: Dataset, tmp_path: Path):
    """What it reports on validation queries is KL and the relative loss of the scores that the checkpoint gives."""
    section = {**short.distributional, "relative_loss": kind, "relative_weight": 20.0, "batch_tokens": 2048}
    prompt = short.prompt.model_copy(update={"template": template})
    recipe = short.model_copy(update={"distributional": section, "prompt": prompt})
    done = train_distributional(recipe, tiny_data, tmp_path / "out")
    validation = tiny_shop.of("validation")
    scored = TransformersScorer(done).score([validation.pair(row) for row in validation.judgments])
    labels = [row.relevance for row in validation.judgments]
    wanted = {
        "targets": torch.tensor(gaussian(labels)),
        "relevance": torch.tensor(labels),
        "queries": torch.tensor([list(validation.queries).index(row.query_id) for row in validation.judgments]),
    }
    logits = torch.tensor(np.log(scored.probabilities))
    told = TargetArguments(relative_loss=kind, relative_weight=20.0)
    assert done.card.provenance.metrics["validation_loss"] == pytest.approx(
        float(target_loss(logits, wanted, told)), rel=0.03
    )
    plain = float(target_loss(logits, wanted, TargetArguments()))
    assert done.card.provenance.metrics["validation_loss"] > 1.1 * plain


@pytest.mark.parametrize("config", [DistributionalConfig, EncoderConfig])
@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"relative_loss": "rank_net"}, "relative_loss: 'rank_net' is not a none, ranknet, margin_mse, listwise"),
        ({"relative_los": "ranknet"}, "unknown key 'relative_los'; did you mean 'relative_loss'"),
        ({"relative_weight": -1.0}, "relative_weight: -1.0 is out of range; it must be at least 0"),
        ({"relative_weight": "much"}, "relative_weight: 'much' is not a number"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(config, section, message, tmp_path):
    with pytest.raises(BadInput, match=message) as caught:
        trainer_config(config, section, tmp_path, use_cpu=True)
    assert "\n" not in str(caught.value)
