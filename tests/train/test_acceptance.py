"""The rule by which an adapter is written, on intervals and on per-query figures that one can check by hand."""

import numpy as np
import pytest
import torch

from gen_rerank import Dataset, Distribution, Judgment, Product, Query
from gen_rerank.evaluation.evaluation import evaluate
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.power import Power
from train.acceptance import Acceptance, gain_sentence, loss_sentence, refused_because, strongest
from train.cross_fitting import OutOfFold
from train.targets import gaussian


@pytest.mark.parametrize(
    ("ranking", "rps", "reason"),
    [
        ((0.01, 0.05), (-0.01, 0.01), None),  # better order, distributions as good
        ((-0.01, 0.02), (-0.03, -0.01), None),  # better distributions, and no loss beyond the margin
        ((-0.011, 0.02), (-0.03, -0.01), "a loss of more than 0.01"),  # a wide interval: the loss is left open
        ((-0.1, 0.2), (-0.01, 0.01), "no gain"),  # chance
        ((0.01, 0.05), (0.01, 0.03), "distributions are worse"),
        ((-0.008, -0.001), (-0.03, -0.01), "ranking is worse"),  # within the margin, but a loss all the same
    ],
)
def test_the_rule(ranking, rps, reason):
    gains = {"nDCG@5": Interval(sum(ranking) / 2, *ranking), "RPS": Interval(sum(rps) / 2, *rps)}
    found = refused_because(gains, margin=0.01)
    assert found is None if reason is None else reason in found


def test_a_wider_margin_lets_more_through():
    gains = {"nDCG@5": Interval(0.0, -0.03, 0.03), "RPS": Interval(-0.02, -0.03, -0.01)}
    assert refused_because(gains, margin=0.02) is not None
    assert refused_because(gains, margin=0.03) is None


def test_what_the_queries_could_show_is_said():
    power = Power(25, mean=0.028, spread=0.1)
    said = gain_sentence("nDCG@5", power, shown=False)
    assert (
        said
        == "nDCG@5: 25 queries show a gain of 0.0560 4 times in 5; the one seen, 0.0280, takes about 101 (76 more)."
    )
    assert gain_sentence("RPS", power, shown=True).endswith("the one seen, 0.0280, is beyond chance.")
    assert gain_sentence("RPS", Power(25, -0.01, 0.1), shown=False).endswith("none was seen.")
    # A mean of +0.018 stays 0.028 above a loss of 0.01.
    assert "about 101 queries (76 more)" in loss_sentence(Power(25, 0.018, 0.1), margin=0.01)
    assert "more queries alone do not help" in loss_sentence(Power(25, -0.01, 0.1), margin=0.01)


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Thirty queries with six products each, graded in sixths."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"product {i}") for i in range(6)}
    queries = {f"q{i}": Query(query_id=f"q{i}", text=f"query {i}", split="train") for i in range(30)}
    judged = [Judgment(query_id=q, product_id=f"p{i}", relevance=i / 5) for q in queries for i in range(6)]
    return Dataset(products, queries, tuple(judged))


def evaluated(name: str, shop: Dataset, means: np.ndarray):
    return evaluate(name, shop, Distribution(gaussian(np.clip(means, 0, 1))))


@pytest.mark.parametrize(("helped", "written"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_thirty_queries_are_enough_for_a_real_gain_in_ranking(shop, helped, written):
    rng = np.random.default_rng(0)
    gold = np.array([row.relevance for row in shop.judgments])
    noise = rng.normal(0, 0.35, len(gold))
    rival = evaluated("base", shop, gold + noise)
    after = evaluated("adapter", shop, gold + noise * (1 - 0.5 * helped))
    found = Acceptance(after, rival, margin=0.01)
    assert (found.refusal is None) is written
    if not written:
        assert found.refusal.startswith("no adapter was written: ")
        assert all(remark in found.refusal for remark in found.remarks)
        assert "\n" not in found.refusal


def folds_that_said(shop: Dataset, wrong: list[float]) -> OutOfFold:
    """Return what folds said whose ranking, at each strength, is wrong for so large a share of the queries."""
    gold = np.array([row.relevance for row in shop.judgments])
    number = np.array([int(row.query_id[1:]) for row in shop.judgments])
    said = [np.where(number < share * 30, 1 - gold, gold) for share in wrong]
    sharp = [np.log(0.1 * (place + 1) * gaussian(one) + 0.05) for place, one in enumerate(said)]
    base = np.log(gaussian(gold) * 0.05 + 0.05)
    tensors = torch.tensor(np.stack(sharp)[None], dtype=torch.float32), torch.tensor(base, dtype=torch.float32)
    return OutOfFold(shop, number % 3, tensors[1], tensors[0], gaussian(gold))


@pytest.mark.parametrize(
    ("wrong", "strength", "written"),
    [
        ([0, 0, 0, 0], 1.0, True),  # nothing is ever ranked wrongly: the strongest has the best distributions
        ([0, 0, 0.1, 0], 0.5, True),  # what comes after the first that may do harm is not tried
        ([0.1, 0, 0, 0], 0.25, False),
    ],
)
def test_strengths_are_tried_from_the_weakest_until_one_may_do_harm(shop, wrong, strength, written):
    found, acceptance = strongest(folds_that_said(shop, wrong), "adapter", margin=0.01)
    assert found == strength
    assert (acceptance.refusal is None) is written
