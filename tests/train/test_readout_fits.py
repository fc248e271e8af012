"""Which pairs belong to some queries, and what is computed from their features."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch

from gen_rerank import Dataset
from train.readout_fits import ReadPairs, moments_of
from train.scalar_trainer import TrainedReadout


@pytest.fixture
def pairs(tiny_shop: Dataset) -> ReadPairs:
    """The one feature of each judgment is its place."""
    places = np.arange(len(tiny_shop.judgments))
    values = places.astype(np.float32)
    examples = datasets.Dataset.from_dict({"features": values[:, None], "relevance": values, "members": places})
    return ReadPairs(tiny_shop, examples.with_format("numpy"))


def test_the_pairs_of_some_queries_get_places_of_their_own(pairs: ReadPairs, tiny_shop: Dataset) -> None:
    queries = {tiny_shop.judgments[0].query_id, tiny_shop.judgments[-1].query_id}
    wanted = [i for i, row in enumerate(tiny_shop.judgments) if row.query_id in queries]
    assert pairs.examples_of(queries)["members"][:].tolist() == wanted
    part = pairs.of(queries)
    assert part.data.judgments == tuple(tiny_shop.judgments[i] for i in wanted)
    assert part.examples["relevance"][:].tolist() == wanted
    assert part.examples["members"][:].tolist() == list(range(len(wanted)))


def test_moments_are_a_mean_over_the_examples(pairs: ReadPairs) -> None:
    count = len(pairs.examples)
    assert moments_of(pairs.examples).item() == pytest.approx(sum(i * i for i in range(count)) / count, rel=1e-6)


def test_logits_stand_in_the_order_of_the_judgments(pairs: ReadPairs) -> None:
    readout = TrainedReadout(torch.arange(11.0)[:, None], 2.0, moments=torch.eye(1))
    assert torch.allclose(pairs.logits(readout)[7], 7 * torch.arange(11.0) / 2)
