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
    """Each judgment twice, as two varied copies; its one feature is its place, in the second copy plus 0.5."""
    count = len(tiny_shop.judgments)
    places = np.tile(np.arange(count), 2)
    values = (places + np.repeat([0.0, 0.5], count)).astype(np.float32)
    examples = datasets.Dataset.from_dict({"features": values[:, None], "relevance": values, "members": places})
    return ReadPairs(tiny_shop, examples.with_format("numpy"))


def test_the_pairs_of_some_queries_keep_all_their_copies_and_their_places(pairs: ReadPairs, tiny_shop: Dataset) -> None:
    queries = {tiny_shop.judgments[0].query_id, tiny_shop.judgments[-1].query_id}
    part = pairs.of(queries)
    wanted = [i for i, row in enumerate(tiny_shop.judgments) if row.query_id in queries]
    assert part.data.judgments == tuple(tiny_shop.judgments[i] for i in wanted)
    assert part.examples["relevance"][:].tolist() == wanted + [i + 0.5 for i in wanted]
    assert pairs.examples_of(queries)["relevance"][:].tolist() == part.examples["relevance"][:].tolist()
    assert part.examples["members"][:].tolist() == 2 * list(range(len(wanted)))


def test_moments_are_over_all_copies(pairs: ReadPairs) -> None:
    values = pairs.examples["relevance"][:].astype(np.float64)
    assert moments_of(pairs.examples).item() == pytest.approx(np.mean(values**2), rel=1e-6)


def test_logits_stand_in_the_order_of_the_judgments(pairs: ReadPairs, tiny_shop: Dataset) -> None:
    part = ReadPairs(tiny_shop, pairs.examples.select(range(len(tiny_shop.judgments))[::-1]).with_format("numpy"))
    readout = TrainedReadout(torch.arange(11.0)[:, None], 2.0, moments=torch.eye(1))
    assert torch.allclose(part.logits(readout)[7], 7 * torch.arange(11.0) / 2)
